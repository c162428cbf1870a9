//! ResNets of pre-activation bottlenecks for small images: He et al. 2016, "Identity Mappings in Deep Residual
//! Networks". Names follow the usual PyTorch port (`preresnet` of bearpaw/pytorch-classification).

use crate::block::Block;
use crate::layer::Layer;

/// Channels at the end of a bottleneck as a multiple of those inside it.
const EXPANSION: usize = 4;

/// The blocks of the network with `depth` = 9n + 2 weighted layers: a stem, 3n residual blocks, a head.
pub(super) fn blocks(depth: usize, channels: usize, classes: usize) -> Vec<Block> {
    let per_group = (depth - 2) / 9;
    let mut blocks = vec![Block::new(
        "stem",
        vec![Layer::conv3x3("conv1", channels, 16, 1)],
    )];
    let mut width = 16;
    for (group, inner) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..per_group {
            let name = format!("layer{}.{index}", group + 1);
            let stride = if group > 0 && index == 0 { 2 } else { 1 };
            blocks.push(bottleneck(name, width, inner, stride));
            width = EXPANSION * inner;
        }
    }
    let head = vec![
        Layer::batch_norm("bn", width),
        Layer::Relu,
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", width, classes),
    ];
    blocks.push(Block::new("head", head));
    blocks
}

/// Normalisation and ReLU before each of three convolutions. The shortcut takes the input as it comes, before
/// normalisation, and has no normalisation of its own.
fn bottleneck(name: String, inputs: usize, inner: usize, stride: usize) -> Block {
    let outputs = EXPANSION * inner;
    let shortcut = if inputs == outputs {
        Vec::new()
    } else {
        vec![Layer::conv1x1(
            format!("{name}.downsample.0"),
            inputs,
            outputs,
            stride,
        )]
    };
    let body = vec![
        Layer::batch_norm(format!("{name}.bn1"), inputs),
        Layer::Relu,
        Layer::conv1x1(format!("{name}.conv1"), inputs, inner, 1),
        Layer::batch_norm(format!("{name}.bn2"), inner),
        Layer::Relu,
        Layer::conv3x3(format!("{name}.conv2"), inner, inner, stride),
        Layer::batch_norm(format!("{name}.bn3"), inner),
        Layer::Relu,
        Layer::conv1x1(format!("{name}.conv3"), inner, outputs, 1),
    ];
    Block::new(name, vec![Layer::Residual { body, shortcut }])
}
