//! ResNeXts: Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks", the form for small images (§5.3).
//! Names follow the usual PyTorch port (prlz77/ResNeXt.pytorch, also in bearpaw/pytorch-classification), so its weights can be exchanged.

use super::Cardinality;
use crate::block::Block;
use crate::layer::Layer;

/// The blocks of the network with `depth` = 9n + 2 weighted layers: a stem, 3n residual blocks, a head.
pub(super) fn blocks(
    depth: usize,
    cardinality: Cardinality,
    channels: usize,
    classes: usize,
) -> Vec<Block> {
    let per_stage = (depth - 2) / 9;
    let stem = vec![
        Layer::conv3x3("conv_1_3x3", channels, 64, 1),
        Layer::batch_norm("bn_1", 64),
        Layer::Relu,
    ];
    let mut blocks = vec![Block::new("stem", stem)];
    let mut width = 64;
    for (stage, factor) in [1, 2, 4].into_iter().enumerate() {
        for index in 0..per_stage {
            let stage_name = format!("stage_{}", stage + 1);
            let name = format!("{stage_name}.{stage_name}_bottleneck_{index}");
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let inner = factor * cardinality.channels();
            let outputs = factor * 256;
            let groups = cardinality.groups;
            blocks.push(bottleneck(name, [width, inner, outputs], groups, stride));
            width = outputs;
        }
    }
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("classifier", width, classes),
    ];
    blocks.push(Block::new("head", head));
    blocks
}

/// Three convolutions with their normalisations, the second in groups and with the stride, around the identity or a projection.
fn bottleneck(name: String, widths: [usize; 3], groups: usize, stride: usize) -> Block {
    let [inputs, inner, outputs] = widths;
    let shortcut = if inputs == outputs {
        Vec::new()
    } else {
        vec![
            Layer::conv1x1(
                format!("{name}.shortcut.shortcut_conv"),
                inputs,
                outputs,
                stride,
            ),
            Layer::batch_norm(format!("{name}.shortcut.shortcut_bn"), outputs),
        ]
    };
    let body = vec![
        Layer::conv1x1(format!("{name}.conv_reduce"), inputs, inner, 1),
        Layer::batch_norm(format!("{name}.bn_reduce"), inner),
        Layer::Relu,
        Layer::grouped3x3(format!("{name}.conv_conv"), inner, inner, groups, stride),
        Layer::batch_norm(format!("{name}.bn"), inner),
        Layer::Relu,
        Layer::conv1x1(format!("{name}.conv_expand"), inner, outputs, 1),
        Layer::batch_norm(format!("{name}.bn_expand"), outputs),
    ];
    Block::new(name, vec![Layer::Residual { body, shortcut }, Layer::Relu])
}
