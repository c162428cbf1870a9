//! VGG with batch normalisation: Simonyan and Zisserman 2014, table 1, columns A and D, for small images with one
//! linear classifier instead of three. Names follow torchvision's numbering of `features`.

use crate::block::Block;
use crate::layer::Layer;

/// Output channels of the convolutions of each group; a 2×2 pooling ends each group.
const ELEVEN: [&[usize]; 5] = [&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];
const SIXTEEN: [&[usize]; 5] = [
    &[64, 64],
    &[128, 128],
    &[256, 256, 256],
    &[512, 512, 512],
    &[512, 512, 512],
];

/// One block per convolution with what follows it up to the next, then the classifier. `depth` is 11 or 16.
pub(super) fn blocks(depth: usize, channels: usize, classes: usize) -> Vec<Block> {
    let groups = if depth == 11 { ELEVEN } else { SIXTEEN };
    let mut blocks = Vec::new();
    let mut inputs = channels;
    let mut index = 0;
    for group in groups {
        for (position, &outputs) in group.iter().enumerate() {
            let mut layers = vec![
                // torchvision keeps the bias although the normalisation cancels it; weights would not load without.
                Layer::Conv2d {
                    zero_weight: false,
                    name: format!("features.{index}"),
                    in_channels: inputs,
                    out_channels: outputs,
                    kernel: 3,
                    stride: 1,
                    padding: 1,
                    groups: 1,
                    bias: true,
                },
                Layer::batch_norm(format!("features.{}", index + 1), outputs),
                Layer::Relu,
            ];
            let name = format!("features.{index}");
            index += 3;
            if position + 1 == group.len() {
                layers.push(Layer::MaxPool2d {
                    kernel: 2,
                    stride: 2,
                    padding: 0,
                });
                index += 1;
            }
            blocks.push(Block::new(name, layers));
            inputs = outputs;
        }
    }
    // The pooling is the identity on the 1x1 images that 32x32 ends in, and lets larger images fit too.
    let classifier = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("classifier", inputs, classes),
    ];
    blocks.push(Block::new("classifier", classifier));
    blocks
}
