//! ResNets of basic blocks for small images: He et al. 2015, "Deep Residual Learning", §4.2, shortcuts of option A.
//! Names follow the usual PyTorch port (akamaster/pytorch_resnet_cifar10), so its weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// The blocks of the network with `depth` = 6n + 2 weighted layers: a stem, 3n residual blocks, a head.
pub(super) fn blocks(depth: usize, channels: usize, classes: usize) -> Vec<Block> {
    let per_group = (depth - 2) / 6;
    let stem = vec![
        Layer::conv3x3("conv1", channels, 16, 1),
        Layer::batch_norm("bn1", 16),
        Layer::Relu,
    ];
    let mut blocks = vec![Block::new("stem", stem)];
    let mut width = 16;
    for (group, next_width) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..per_group {
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

/// Two 3×3 convolutions around a shortcut; where the channels double, the image halves.
fn basic_block(name: String, inputs: usize, outputs: usize) -> Block {
    let (stride, shortcut) = if inputs == outputs {
        (1, Vec::new())
    } else {
        let subsample = Layer::SubsamplePad {
            stride: 2,
            in_channels: inputs,
            out_channels: outputs,
        };
        (2, vec![subsample])
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
