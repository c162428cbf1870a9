//! ResNets for images of ImageNet's size: He et al. 2015, "Deep Residual Learning", table 1, with the stride on the 3×3
//! convolution of a bottleneck; and the ResNeXts of these depths: Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural
//! Networks", table 1. Names follow torchvision, so its weights can be exchanged.

use super::Cardinality;
use crate::block::Block;
use crate::layer::Layer;

/// Depths of table 1.
pub(super) const DEPTHS: [usize; 5] = [18, 34, 50, 101, 152];

/// Those of them that have bottlenecks.
pub(super) const BOTTLENECK_DEPTHS: [usize; 3] = [50, 101, 152];

/// Residual blocks in each of the four groups, and channels at the end of a block as a multiple of those inside it.
fn plan(depth: usize) -> ([usize; 4], usize) {
    match depth {
        18 => ([2, 2, 2, 2], 1),
        34 => ([3, 4, 6, 3], 1),
        50 => ([3, 4, 6, 3], 4),
        101 => ([3, 4, 23, 3], 4),
        _ => ([3, 8, 36, 3], 4),
    }
}

/// A stem, residual blocks in four groups of 64, 128, 256, 512 inner channels, a head; with a cardinality, bottlenecks whose inner channels
/// are C·d, 2C·d, 4C·d and 8C·d in C groups.
pub(super) fn blocks(
    depth: usize,
    cardinality: Option<Cardinality>,
    channels: usize,
    classes: usize,
) -> Vec<Block> {
    let (groups, expansion) = plan(depth);
    let whole = Cardinality {
        groups: 1,
        width: 64,
    };
    let cardinality = cardinality.unwrap_or(whole);
    let stem = vec![
        Layer::convolution("conv1".into(), [channels, 64], 7, 2),
        Layer::batch_norm("bn1", 64),
        Layer::Relu,
        Layer::MaxPool2d {
            kernel: 3,
            stride: 2,
            padding: 1,
        },
    ];
    let mut blocks = vec![Block::new("stem", stem)];
    let mut width = 64;
    for (group, count) in groups.into_iter().enumerate() {
        let inner = cardinality.channels() << group;
        let outputs = expansion * (64 << group);
        for index in 0..count {
            let name = format!("layer{}.{index}", group + 1);
            let stride = if group > 0 && index == 0 { 2 } else { 1 };
            let widths = [width, inner, outputs];
            blocks.push(if expansion == 1 {
                basic(name, widths, stride)
            } else {
                bottleneck(name, widths, cardinality.groups, stride)
            });
            width = outputs;
        }
    }
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", width, classes),
    ];
    blocks.push(Block::new("head", head));
    blocks
}

/// Two 3×3 convolutions.
fn basic(name: String, [inputs, inner, outputs]: [usize; 3], stride: usize) -> Block {
    let convolutions = vec![
        Layer::conv3x3(format!("{name}.conv1"), inputs, inner, stride),
        Layer::conv3x3(format!("{name}.conv2"), inner, outputs, 1),
    ];
    block(name, convolutions, [inputs, outputs], stride)
}

/// A 3×3 convolution, in groups or of all channels, between two of 1×1.
fn bottleneck(
    name: String,
    [inputs, inner, outputs]: [usize; 3],
    groups: usize,
    stride: usize,
) -> Block {
    let convolutions = vec![
        Layer::conv1x1(format!("{name}.conv1"), inputs, inner, 1),
        Layer::grouped3x3(format!("{name}.conv2"), inner, inner, groups, stride),
        Layer::conv1x1(format!("{name}.conv3"), inner, outputs, 1),
    ];
    block(name, convolutions, [inputs, outputs], stride)
}

/// Convolutions, each with its normalisation, around the identity or a projection (option B of §3.3).
fn block(
    name: String,
    convolutions: Vec<Layer>,
    [inputs, outputs]: [usize; 2],
    stride: usize,
) -> Block {
    let shortcut = if inputs == outputs && stride == 1 {
        Vec::new()
    } else {
        vec![
            Layer::conv1x1(format!("{name}.downsample.0"), inputs, outputs, stride),
            Layer::batch_norm(format!("{name}.downsample.1"), outputs),
        ]
    };
    let last = convolutions.len();
    let mut body = Vec::new();
    for (number, convolution) in (1..).zip(convolutions) {
        let Layer::Conv2d { out_channels, .. } = convolution else {
            continue;
        };
        body.push(convolution);
        body.push(Layer::batch_norm(
            format!("{name}.bn{number}"),
            out_channels,
        ));
        if number < last {
            body.push(Layer::Relu);
        }
    }
    Block::new(name, vec![Layer::Residual { body, shortcut }, Layer::Relu])
}
