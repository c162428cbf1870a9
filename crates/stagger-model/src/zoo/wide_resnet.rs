//! Wide residual networks for small images: Zagoruyko, Komodakis 2016, "Wide Residual Networks", table 1, blocks B(3,3) without dropout.
//! Names follow the usual PyTorch port (xternalbz/WideResNet-pytorch), so its weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// The blocks of the network with `depth` = 6n + 4 layers and `widening` times the channels of the thin one: a stem, 3n residual blocks,
/// a head.
pub(super) fn blocks(depth: usize, widening: usize, channels: usize, classes: usize) -> Vec<Block> {
    let per_group = (depth - 4) / 6;
    let mut blocks = vec![Block::new(
        "stem",
        vec![Layer::conv3x3("conv1", channels, 16, 1)],
    )];
    let mut width = 16;
    for (group, thin) in [16, 32, 64].into_iter().enumerate() {
        for index in 0..per_group {
            let name = format!("block{}.layer.{index}", group + 1);
            let stride = if group > 0 && index == 0 { 2 } else { 1 };
            blocks.push(block(name, width, widening * thin, stride));
            width = widening * thin;
        }
    }
    let head = vec![
        Layer::batch_norm("bn1", width),
        Layer::Relu,
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", width, classes),
    ];
    blocks.push(Block::new("head", head));
    blocks
}

/// Normalisation and ReLU before each of two convolutions. Where the width changes, both branches begin behind the first ReLU, and the
/// shortcut is a convolution; else the shortcut takes the input as it comes.
fn block(name: String, inputs: usize, outputs: usize, stride: usize) -> Block {
    let mut before = vec![
        Layer::batch_norm(format!("{name}.bn1"), inputs),
        Layer::Relu,
    ];
    let convolutions = vec![
        Layer::conv3x3(format!("{name}.conv1"), inputs, outputs, stride),
        Layer::batch_norm(format!("{name}.bn2"), outputs),
        Layer::Relu,
        Layer::conv3x3(format!("{name}.conv2"), outputs, outputs, 1),
    ];
    if inputs == outputs && stride == 1 {
        let body = [before, convolutions].concat();
        let shortcut = Vec::new();
        return Block::new(name, vec![Layer::Residual { body, shortcut }]);
    }
    let projection = Layer::conv1x1(format!("{name}.convShortcut"), inputs, outputs, stride);
    before.push(Layer::Residual {
        body: convolutions,
        shortcut: vec![projection],
    });
    Block::new(name, before)
}
