//! MobileNet-V2: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2. Names follow torchvision, so its
//! weights can be exchanged.

use crate::block::Block;
use crate::layer::Layer;

/// Expansion, channels at the end, repetitions and stride of each group of inverted residuals.
const GROUPS: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Channels before the classifier.
const LAST: usize = 1280;

/// A stem, 17 inverted residuals, a 1×1 convolution, a classifier.
pub(super) fn blocks(channels: usize, classes: usize) -> Vec<Block> {
    let stem = Layer::conv3x3("features.0.0", channels, 32, 2);
    let mut blocks = vec![Block::new("features.0", cut_off_at_six("features.0", stem))];
    let mut width = 32;
    for (expansion, outputs, count, first_stride) in GROUPS {
        for index in 0..count {
            let name = format!("features.{}", blocks.len());
            let stride = if index == 0 { first_stride } else { 1 };
            blocks.push(inverted_residual(name, [width, outputs], expansion, stride));
            width = outputs;
        }
    }
    let name = format!("features.{}", blocks.len());
    let wide = Layer::conv1x1(format!("{name}.0"), width, LAST, 1);
    blocks.push(Block::new(&name, cut_off_at_six(&name, wide)));
    let classifier = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::Dropout {
            name: "classifier.0".into(),
            probability: 0.2,
        },
        Layer::linear("classifier.1", LAST, classes),
    ];
    blocks.push(Block::new("classifier", classifier));
    blocks
}

/// A 1×1 convolution to `expansion` times the channels, a depthwise one, and a 1×1 convolution without a ReLU; with the input added where
/// shapes allow it.
fn inverted_residual(
    name: String,
    [inputs, outputs]: [usize; 2],
    expansion: usize,
    stride: usize,
) -> Block {
    let inner = expansion * inputs;
    let mut body = Vec::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        format!("{name}.conv.{}", number - 1)
    };
    if expansion > 1 {
        let name = next();
        let wide = Layer::conv1x1(format!("{name}.0"), inputs, inner, 1);
        body.extend(cut_off_at_six(&name, wide));
    }
    let part = next();
    let depthwise = Layer::grouped3x3(format!("{part}.0"), inner, inner, inner, stride);
    body.extend(cut_off_at_six(&part, depthwise));
    body.push(Layer::conv1x1(next(), inner, outputs, 1));
    body.push(Layer::batch_norm(next(), outputs));
    let layers = if stride == 1 && inputs == outputs {
        let shortcut = Vec::new();
        vec![Layer::Residual { body, shortcut }]
    } else {
        body
    };
    Block::new(name, layers)
}

/// A convolution with the normalisation and the ReLU behind it.
fn cut_off_at_six(name: &str, convolution: Layer) -> Vec<Layer> {
    let channels = match convolution {
        Layer::Conv2d { out_channels, .. } => out_channels,
        _ => 0,
    };
    vec![
        convolution,
        Layer::batch_norm(format!("{name}.1"), channels),
        Layer::Relu6,
    ]
}
