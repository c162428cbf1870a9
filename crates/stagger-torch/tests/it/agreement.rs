//! The engines compute the same: same weights, same batches, in `f32`.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stagger_cpu::CpuStage;
use stagger_engine::{Optimizer, Stage, StageSpec, WeightDecay};
use stagger_model::{Layer, Model};
use stagger_torch::{TorchDevice, TorchStage};

use stagger_conformance::fixtures::single;

mod apart;

use apart::{Apart, Findings, distance, trained};

const CLASSES: usize = 5;
fn spec(model: &Model) -> StageSpec<'_> {
    StageSpec {
        first: false,
        optimizer: Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::default(),
        },
        // As libtorch sums.
        winograd: false,
        ..StageSpec::new(model, 0..model.blocks.len(), 11)
    }
}

fn compare(model: &Model, samples: usize, batches: usize) -> Apart {
    compare_with(false, model, samples, batches)
}

/// With direct sums in engine `cpu`, or with Winograd's method.
fn compare_with(winograd: bool, model: &Model, samples: usize, batches: usize) -> Apart {
    let spec_of_cpu = StageSpec {
        winograd,
        ..spec(model)
    };
    let cpu = CpuStage::new(&spec_of_cpu, Default::default()).unwrap();
    let torch = TorchStage::new(&spec(model), device()).unwrap();
    assert_eq!(cpu.export().unwrap(), torch.export().unwrap());
    let cpu = trained(cpu, model, samples, batches);
    let torch = trained(torch, model, samples, batches);
    distance(&cpu, &torch)
}

/// How far an engine is from itself at worst, when its weights move by as much as convolutions on a GPU round: `1e-6` of
/// them. A rectifier or a maximum that goes the other way then moves gradients by up to a third.
fn sensitivity(model: &Model, samples: usize, batches: usize) -> Apart {
    let train = |seed: Option<u64>| {
        let mut stage = TorchStage::new(&spec(model), TorchDevice::default()).unwrap();
        let mut state = stage.export().unwrap();
        let mut draw = ChaCha8Rng::seed_from_u64(seed.unwrap_or_default());
        let weights = state.tensors.iter_mut();
        for (_, weight) in weights.filter(|(name, _)| seed.is_some() && name.ends_with("weight")) {
            for value in &mut weight.data {
                *value *= 1.0 + draw.random_range(-1e-6_f32..1e-6);
            }
        }
        stage.import(&state).unwrap();
        trained(stage, model, samples, batches)
    };
    let whole = train(None);
    (1..=4)
        .map(|seed| distance(&whole, &train(Some(seed))))
        .fold(Apart::default(), Apart::worst)
}

/// Networks of which rounding turns a ReLU even on the CPU, so that gradients move by more than a bound on rounding tells.
const TURNED: [&str; 2] = ["resnext29-4x16d", "mobilenet-v2"];

/// What a network that blows rounding up is held to. On the CPU that is the bound, but for those of [`TURNED`]; these, and all on GPUs,
/// which round otherwise, may be twice as far apart as rounding makes the CPU from itself.
fn bound_of_deep(bound: Apart, model: &Model, samples: usize, batches: usize) -> Apart {
    if device().cuda.is_none() && !TURNED.contains(&model.name.as_str()) {
        return bound;
    }
    bound.with(sensitivity(model, samples, batches), |bound, rounding| {
        bound.max(2.0 * rounding)
    })
}

/// The layers between an input and logits.
fn with_head(input: [usize; 3], mut layers: Vec<Layer>) -> Model {
    let features = layers
        .iter()
        .fold(input.to_vec(), |shape, layer| {
            layer.output_shape(&shape).unwrap()
        })
        .iter()
        .product();
    layers.push(Layer::Flatten);
    layers.push(Layer::linear("head", features, CLASSES));
    single(input, CLASSES, layers)
}

fn conv(from: usize, to: usize, kernel: usize, stride: usize, bias: bool) -> Layer {
    Layer::Conv2d {
        name: "conv".into(),
        in_channels: from,
        out_channels: to,
        kernel,
        stride,
        padding: kernel / 2,
        groups: 1,
        bias,
        zero_weight: false,
    }
}

/// A convolution with a bias and a kernel of 3 in groups.
fn grouped(from: usize, to: usize, groups: usize, stride: usize) -> Layer {
    let mut layer = Layer::grouped3x3("conv", from, to, groups, stride);
    if let Layer::Conv2d { bias, .. } = &mut layer {
        *bias = true;
    }
    layer
}

fn norm(channels: usize) -> Layer {
    Layer::batch_norm("bn", channels)
}

fn residual(body: Vec<Layer>, shortcut: Vec<Layer>) -> Layer {
    Layer::Residual { body, shortcut }
}

fn max_pool(kernel: usize, stride: usize, padding: usize) -> Layer {
    Layer::MaxPool2d {
        kernel,
        stride,
        padding,
    }
}

fn avg_pool(kernel: usize, stride: usize, padding: usize) -> Layer {
    Layer::AvgPool2d {
        kernel,
        stride,
        padding,
    }
}

/// At least one small model for every kind of layer; channels on both sides of multiples of 16, odd sides.
fn small_models() -> Vec<Model> {
    let pad = |stride| Layer::SubsamplePad {
        stride,
        in_channels: 3,
        out_channels: 7,
    };
    let bottleneck = vec![
        norm(3),
        Layer::Relu,
        Layer::conv1x1("a", 3, 5, 1),
        Layer::batch_norm("a.bn", 5),
        Layer::Relu,
        Layer::conv3x3("b", 5, 7, 2),
    ];
    let dropout = Layer::Dropout {
        name: "drop".into(),
        probability: 0.4,
    };
    let of_three = vec![
        vec![conv(3, 5, 3, 1, false)],
        vec![conv(3, 17, 3, 2, true)],
        vec![conv(3, 16, 5, 1, true)],
        vec![conv(3, 5, 5, 2, false)],
        vec![conv(3, 19, 1, 1, true)],
        vec![conv(3, 32, 1, 2, false)],
        vec![conv(3, 4, 2, 3, true)],
        vec![grouped(3, 3, 3, 1)],
        vec![grouped(3, 6, 3, 2)],
        vec![conv(3, 7, 3, 1, true), norm(7), Layer::Relu],
        vec![norm(3)],
        vec![norm(3), Layer::Relu],
        vec![Layer::Relu],
        vec![conv(3, 8, 3, 1, true), norm(8), Layer::Relu6],
        vec![residual(vec![conv(3, 3, 3, 1, false), norm(3)], vec![])],
        vec![
            residual(vec![conv(3, 3, 3, 1, false), norm(3)], vec![]),
            Layer::Relu,
        ],
        vec![
            residual(vec![conv(3, 7, 3, 2, false), norm(7)], vec![pad(2)]),
            Layer::Relu,
        ],
        vec![
            residual(
                vec![conv(3, 7, 3, 2, false), norm(7)],
                vec![
                    Layer::conv1x1("short", 3, 7, 2),
                    Layer::batch_norm("short.bn", 7),
                ],
            ),
            Layer::Relu,
        ],
        vec![residual(bottleneck, vec![Layer::conv1x1("short", 3, 7, 2)])],
        vec![residual(vec![Layer::Relu], vec![])],
        vec![pad(1)],
        vec![pad(2)],
        vec![pad(3)],
        vec![max_pool(2, 2, 0)],
        vec![max_pool(3, 2, 1)],
        vec![max_pool(3, 1, 1)],
        vec![avg_pool(2, 2, 0)],
        vec![avg_pool(3, 2, 1)],
        vec![Layer::GlobalAvgPool],
        vec![
            Layer::Concat {
                body: vec![norm(3), Layer::Relu, conv(3, 4, 3, 1, false)],
            },
            Layer::batch_norm("joined", 7),
            Layer::Relu,
        ],
        vec![dropout],
    ];
    let inputs = [[3, 7, 7], [3, 8, 8]];
    let models = inputs.into_iter().flat_map(|input| {
        of_three
            .iter()
            .map(move |layers| with_head(input, layers.clone()))
    });
    let unbiased = Layer::Linear {
        name: "fc".into(),
        inputs: 48,
        outputs: CLASSES,
        bias: false,
        zero_weight: false,
    };
    models
        .chain([
            with_head([16, 5, 5], vec![conv(16, 32, 3, 1, false)]),
            with_head([33, 5, 5], vec![conv(33, 15, 3, 2, false)]),
            with_head([34, 6, 6], vec![grouped(34, 34, 34, 1)]),
            with_head([34, 6, 6], vec![grouped(34, 34, 34, 2)]),
            with_head([24, 5, 5], vec![grouped(24, 32, 8, 1)]),
            with_head([36, 5, 5], vec![grouped(36, 36, 2, 2)]),
            with_head([16, 5, 5], vec![norm(16), Layer::Relu]),
            with_head([1, 9, 9], vec![conv(1, 6, 5, 1, true), max_pool(2, 2, 0)]),
            single([3, 4, 4], CLASSES, vec![Layer::Flatten, unbiased]),
        ])
        .collect()
}

fn describe(model: &Model, samples: usize) -> String {
    let layers = &model.blocks[0].layers;
    format!("{layers:?} on {samples} x {:?}", model.input)
}

/// The device of engine `torch`: the CPU, unless the environment names a GPU to check.
fn device() -> TorchDevice {
    let name = std::env::var("STAGGER_TEST_DEVICE").unwrap_or("cpu".into());
    name.parse().unwrap()
}

#[test]
fn every_kind_of_layer() {
    // Found on AVX-512; bounds leave room for other kernels of oneDNN: 2e-7, 7e-7, 1.4e-6, 6e-7, 5e-6.
    let bound = Apart {
        loss: 4e-6,
        gradients: 1e-5,
        statistics: 2e-5,
        evaluation: 1e-5,
        weights: 8e-5,
    };
    let mut findings = Findings::new(bound);
    let mut kinds = BTreeSet::new();
    for model in small_models() {
        for layer in &model.blocks[0].layers {
            layer.walk(&mut |layer| _ = kinds.insert(layer.kind()));
        }
        for samples in 1..=3 {
            let apart = compare(&model, samples, 10);
            findings.add(apart, &describe(&model, samples));
        }
    }
    findings.check();
    assert_eq!(kinds.len(), 13, "kinds of layers: {kinds:?}");
}

/// Name, side of the images, batches. Training is chaotic: after ten batches, deep networks are apart whatever the engine.
const ZOO: [(&str, usize, usize); 10] = [
    ("resnet8", 32, 10),
    ("resnet20", 16, 10),
    ("resnet56", 8, 2),
    ("resnet164", 8, 2),
    ("resnet18-cifar", 8, 2),
    ("resnext29-4x16d", 16, 1),
    ("densenet-bc-22-12", 16, 2),
    ("mobilenet-v2", 64, 2),
    ("vgg11-bn", 32, 2),
    ("vgg16-bn", 32, 2),
];

/// Its rounding, ten times that of direct sums, flips a ReLU here and there, which moves a gradient by a share that no bound on rounding
/// tells: gradients are held to those of a single layer in `stagger-cpu`, and here to their order of size.
#[test]
fn every_model_of_the_zoo_by_winograd_s_method() {
    let bound = Apart {
        loss: 4e-5,
        gradients: 1.0,
        statistics: 2e-4,
        evaluation: 4e-3,
        weights: 0.2,
    };
    let mut findings = Findings::new(bound);
    for (name, side, batches) in ZOO {
        let model = Model::by_name(name, [3, side, side], 10).unwrap();
        findings.add(compare_with(true, &model, 4, batches), name);
    }
    findings.check();
}

#[test]
fn every_model_of_the_zoo() {
    // Found on AVX-512: 0, 5e-6, 3.5e-7, 2.4e-6, 2.9e-5.
    let bound = Apart {
        loss: 4e-6,
        gradients: 8e-5,
        statistics: 8e-6,
        evaluation: 4e-5,
        weights: 4e-4,
    };
    let mut findings = Findings::new(bound);
    for (name, side, batches) in ZOO {
        let model = Model::by_name(name, [3, side, side], 10).unwrap();
        let samples = 4;
        let bound = bound_of_deep(bound, &model, samples, batches);
        findings.add_within(compare(&model, samples, batches), bound, name);
    }
    findings.check();
}

#[test]
fn rounding_alone_moves_gradients_of_deep_networks() {
    // Found on AVX-512: loss 2e-6, gradients 0.3. Why GPUs are not held to the CPU's bound.
    let model = Model::by_name("vgg16-bn", [3, 32, 32], 10).unwrap();
    let found = sensitivity(&model, 4, 2);
    println!("rounding: {:?}", found.named());
    assert!(found.loss < 1e-4 && found.gradients > 1e-3, "{found:?}");
}
