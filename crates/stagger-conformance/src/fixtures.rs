//! Small models, batches that repeat, and a plain training step.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{Activation, HostTensor, Loss, Stage, StageSpec};
use stagger_model::{Block, Layer, Model};

use crate::Engine;

/// An image batch; `round` tells batches apart.
pub fn images(samples: usize, channels: usize, side: usize, round: usize) -> HostTensor {
    let len = samples * channels * side * side;
    let data = (0..len)
        .map(|index| ((index * 37 + round * 101) as f32 * 0.713).sin())
        .collect();
    HostTensor::new(vec![samples, channels, side, side], data).unwrap()
}

/// Labels of a batch; `round` tells batches apart.
pub fn labels(samples: usize, classes: usize, round: usize) -> Vec<usize> {
    (0..samples)
        .map(|index| (index * 7 + round) % classes)
        .collect()
}

/// ResNet-8 for images of 3×8×8 and 10 classes.
pub fn resnet8() -> Model {
    Model::by_name("resnet8", [3, 8, 8], 10).unwrap()
}

/// Layers of networks for small processors, for images of 3×8×8 and 10 classes.
pub fn mobile() -> Model {
    let body = vec![
        Layer::conv1x1("wide", 4, 12, 1),
        Layer::batch_norm("wide.bn", 12),
        Layer::Relu6,
        Layer::grouped3x3("depthwise", 12, 12, 12, 1),
        Layer::batch_norm("depthwise.bn", 12),
        Layer::Relu6,
        Layer::conv1x1("narrow", 12, 4, 1),
        Layer::batch_norm("narrow.bn", 4),
    ];
    let shortcut = vec![];
    let layers = vec![
        Layer::conv3x3("conv", 3, 4, 1),
        Layer::Residual { body, shortcut },
        Layer::grouped3x3("grouped", 4, 6, 2, 2),
        Layer::Flatten,
        Layer::linear("fc", 96, 10),
    ];
    single([3, 8, 8], 10, layers)
}

/// Dense layers, for images of 3×8×8 and 10 classes, in blocks of one layer each.
pub fn dense() -> Model {
    let layer = |name: &str, channels: usize| {
        let body = vec![
            Layer::batch_norm(format!("{name}.bn"), channels),
            Layer::Relu,
            Layer::conv3x3(format!("{name}.conv"), channels, 3, 1),
        ];
        Block::new(name, vec![Layer::Concat { body }])
    };
    let half = Layer::AvgPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    };
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", 13, 10),
    ];
    let blocks = vec![
        Block::new("stem", vec![Layer::conv3x3("conv", 3, 4, 1)]),
        layer("first", 4),
        layer("second", 7),
        Block::new("half", vec![half]),
        layer("third", 10),
        Block::new("head", head),
    ];
    Model::new("dense", [3, 8, 8], 10, blocks).unwrap()
}

/// A model of one block.
pub fn single(input: [usize; 3], classes: usize, layers: Vec<Layer>) -> Model {
    Model::new("single", input, classes, vec![Block::new("only", layers)]).unwrap()
}

/// A stage on the engine's default device.
pub fn stage<K: Engine>(spec: &StageSpec<'_>) -> LayeredStage<K> {
    LayeredStage::new(spec, Default::default()).unwrap()
}

/// All blocks of a model as one stage.
pub fn whole(model: &Model) -> StageSpec<'_> {
    StageSpec::new(model, 0..model.blocks.len(), 11)
}

/// Bits of a tensor, for comparisons that NaN and signed zeros cannot fool.
pub fn bits(tensor: &impl Activation) -> Vec<u32> {
    tensor
        .to_host()
        .unwrap()
        .data
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

/// One batch forward and backward through consecutive stages, and an update of all; gives the loss and the gradient
/// that comes out at the bottom, if any does.
pub fn train<K: Engine>(
    stages: &mut [LayeredStage<K>],
    samples: usize,
    round: usize,
) -> (f32, Option<Vec<u32>>) {
    let mut tensor = stages[0].upload(images(samples, 3, 8, round)).unwrap();
    let mut graphs = Vec::new();
    for stage in stages.iter_mut() {
        let (output, graph) = stage.record(&tensor, round).unwrap();
        tensor = output;
        graphs.push(graph);
    }
    let last = stages.last().unwrap();
    let Loss { value, grad, .. } = last
        .loss(&tensor, &labels(samples, 10, round), 1.0)
        .unwrap();
    let mut grad = Some(grad);
    for (stage, graph) in stages.iter_mut().zip(graphs).rev() {
        grad = stage.backward(graph, grad.unwrap()).unwrap();
        stage.update(0.05).unwrap();
    }
    (value, grad.map(|grad| bits(&grad)))
}

/// Values between −1 and 1, the same for the same name.
pub fn values(name: &str, len: usize) -> Vec<f64> {
    // FNV-1a of the name, then SplitMix64.
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
        .collect()
}
