//! ResNet-18 with a stem for small images: one 3×3 convolution of stride 1 instead of 7×7 and pooling.
//! Names follow the usual PyTorch port (kuangliu/pytorch-cifar), so its weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// A stem, eight residual blocks of 64, 128, 256, 512 channels, a head.
pub(super) fn blocks(channels: usize, classes: usize) -> Vec<Block> {
    let stem = vec![
        Layer::conv3x3("conv1", channels, 64, 1),
        Layer::batch_norm("bn1", 64),
        Layer::Relu,
    ];
    let mut blocks = vec![Block::new("stem", stem)];
    let mut width = 64;
    for (group, next_width) in [64, 128, 256, 512].into_iter().enumerate() {
        for index in 0..2 {
            let name = format!("layer{}.{index}", group + 1);
            blocks.push(basic_block(name, width, next_width));
            width = next_width;
        }
    }
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("linear", width, classes),
    ];
    blocks.push(Block::new("head", head));
    blocks
}

/// Two 3×3 convolutions around the identity or, where the channels double and the image halves, a projection
/// (option B of He et al. 2015, §3.3).
fn basic_block(name: String, inputs: usize, outputs: usize) -> Block {
    let (stride, shortcut) = if inputs == outputs {
        (1, Vec::new())
    } else {
        let projection = vec![
            Layer::conv1x1(format!("{name}.shortcut.0"), inputs, outputs, 2),
            Layer::batch_norm(format!("{name}.shortcut.1"), outputs),
        ];
        (2, projection)
    };
    let body = vec![
        Layer::conv3x3(format!("{name}.conv1"), inputs, outputs, stride),
        Layer::batch_norm(format!("{name}.bn1"), outputs),
        Layer::Relu,
        Layer::conv3x3(format!("{name}.conv2"), outputs, outputs, 1),
        Layer::batch_norm(format!("{name}.bn2"), outputs),
    ];
    Block::new(name, vec![Layer::Residual { body, shortcut }, Layer::Relu])
}
