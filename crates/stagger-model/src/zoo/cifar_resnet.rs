//! ResNets of basic blocks for small images: He et al. 2015, "Deep Residual Learning", §4.2, shortcuts of option A.
//! Names follow the usual PyTorch port (akamaster/pytorch_resnet_cifar10), so its weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// The blocks of the network with `depth` = 6n + 2 weighted layers: a stem, 3n residual blocks, a head.
pub(super) fn blocks(depth: usize, channels: usize, classes: usize) -> Vec<Block> {
    let subsample = |_block: &str, inputs, outputs| {
        vec![Layer::SubsamplePad {
            stride: 2,
            in_channels: inputs,
            out_channels: outputs,
        }]
    };
    of_basic_blocks(&[16, 32, 64], (depth - 2) / 6, subsample, channels, classes)
}

/// A 3×3 stem, groups of `per_group` basic blocks with these `widths` in channels, a head. `shortcut` gives the other
/// branch where the channels double and the image halves, from the block's name and the channels of its input and output.
pub(super) fn of_basic_blocks(
    widths: &[usize],
    per_group: usize,
    shortcut: fn(&str, usize, usize) -> Vec<Layer>,
    channels: usize,
    classes: usize,
) -> Vec<Block> {
    let mut width = widths[0];
    let stem = vec![
        Layer::conv3x3("conv1", channels, width, 1),
        Layer::batch_norm("bn1", width),
        Layer::Relu,
    ];
    let mut blocks = vec![Block::new("stem", stem)];
    for (group, &next_width) in widths.iter().enumerate() {
        for index in 0..per_group {
            let name = format!("layer{}.{index}", group + 1);
            let (stride, shortcut) = if width == next_width {
                (1, Vec::new())
            } else {
                (2, shortcut(&name, width, next_width))
            };
            let body = vec![
                Layer::conv3x3(format!("{name}.conv1"), width, next_width, stride),
                Layer::batch_norm(format!("{name}.bn1"), next_width),
                Layer::Relu,
                Layer::conv3x3(format!("{name}.conv2"), next_width, next_width, 1),
                Layer::batch_norm(format!("{name}.bn2"), next_width),
            ];
            let layers = vec![Layer::Residual { body, shortcut }, Layer::Relu];
            blocks.push(Block::new(name, layers));
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
