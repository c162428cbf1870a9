//! DenseNets for small images: Huang et al. 2017, "Densely Connected Convolutional Networks", the form BC of table 2, with bottlenecks and
//! a compression of one half. Names follow the usual PyTorch port (bearpaw/pytorch-classification), so its weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// Channels inside a layer as a multiple of the growth.
const BOTTLENECK: usize = 4;

/// The blocks of the network with `depth` = 6n + 4 layers and `growth` new channels per dense layer: a stem, three times n dense layers with
/// a transition behind each of the first two, a head. What passes from a dense layer to the next is one tensor, all channels so far, so
/// that a stage can end behind any of them.
pub(super) fn blocks(depth: usize, growth: usize, channels: usize, classes: usize) -> Vec<Block> {
    let per_group = (depth - 4) / 6;
    let mut width = 2 * growth;
    let stem = Layer::conv3x3("conv1", channels, width, 1);
    let mut blocks = vec![Block::new("stem", vec![stem])];
    for group in 1..=3 {
        for index in 0..per_group {
            let name = format!("dense{group}.{index}");
            blocks.push(dense_layer(name, width, growth));
            width += growth;
        }
        if group < 3 {
            blocks.push(transition(format!("trans{group}"), width, width / 2));
            width /= 2;
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

/// Normalisation and ReLU before each of two convolutions, whose output joins the input.
fn dense_layer(name: String, inputs: usize, growth: usize) -> Block {
    let inner = BOTTLENECK * growth;
    let body = vec![
        Layer::batch_norm(format!("{name}.bn1"), inputs),
        Layer::Relu,
        Layer::conv1x1(format!("{name}.conv1"), inputs, inner, 1),
        Layer::batch_norm(format!("{name}.bn2"), inner),
        Layer::Relu,
        Layer::conv3x3(format!("{name}.conv2"), inner, growth, 1),
    ];
    Block::new(name, vec![Layer::Concat { body }])
}

/// Half of the channels, and a quarter of the pixels.
fn transition(name: String, inputs: usize, outputs: usize) -> Block {
    let layers = vec![
        Layer::batch_norm(format!("{name}.bn1"), inputs),
        Layer::Relu,
        Layer::conv1x1(format!("{name}.conv1"), inputs, outputs, 1),
        Layer::AvgPool2d {
            kernel: 2,
            stride: 2,
            padding: 0,
        },
    ];
    Block::new(name, layers)
}
