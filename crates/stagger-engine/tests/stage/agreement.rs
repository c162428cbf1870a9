//! The engines compute the same: same weights, same batches, in `f32`.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stagger_engine::burn::CpuStage;
use stagger_engine::torch::{TorchDevice, TorchStage};
use stagger_engine::{
    Activation, HostTensor, Loss, Optimizer, Stage, StageSpec, StageState, WeightDecay,
};
use stagger_model::{Layer, Model};

use crate::support::{images, labels, single};

const CLASSES: usize = 5;
/// Learning rate: so small that what the engines round differently is not blown up by training itself.
const RATE: f64 = 1e-3;

/// How far apart two engines are, each as a share of the largest value of the tensor in question.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    /// Loss of the first batch.
    loss: f64,
    /// Gradients of the first batch: of the input and of all parameters.
    gradients: f64,
    /// Running statistics after the first batch.
    statistics: f64,
    /// Logits of an evaluation after the first batch.
    evaluation: f64,
    /// Weights and running statistics after the last batch.
    weights: f64,
}

impl Apart {
    fn named(self) -> [(&'static str, f64); 5] {
        [
            ("loss", self.loss),
            ("gradients", self.gradients),
            ("statistics", self.statistics),
            ("evaluation", self.evaluation),
            ("weights", self.weights),
        ]
    }

    /// What is above the bound.
    fn above(self, bound: Self) -> Vec<String> {
        let pairs = self.named().into_iter().zip(bound.named());
        pairs
            .filter(|((_, found), (_, bound))| found > bound)
            .map(|((name, found), _)| format!("{name} differ by {found:.1e} of their size"))
            .collect()
    }

    fn with(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            loss: of(self.loss, other.loss),
            gradients: of(self.gradients, other.gradients),
            statistics: of(self.statistics, other.statistics),
            evaluation: of(self.evaluation, other.evaluation),
            weights: of(self.weights, other.weights),
        }
    }

    fn worst(self, other: Self) -> Self {
        self.with(other, f64::max)
    }
}

/// What comes of comparing many models: all are compared before any fails.
struct Findings {
    bound: Apart,
    worst: Apart,
    above: Vec<String>,
}

impl Findings {
    fn new(bound: Apart) -> Self {
        Self {
            bound,
            worst: Apart::default(),
            above: Vec::new(),
        }
    }

    fn add(&mut self, found: Apart, what: &str) {
        self.add_within(found, self.bound, what);
    }

    /// A network that blows rounding up. On the CPU the bound holds as it is; GPUs round otherwise, and may be twice as far
    /// apart as rounding makes the CPU from itself.
    fn add_deep(&mut self, model: &Model, batches: usize, what: &str) {
        let samples = 4;
        let mut bound = self.bound;
        if device().cuda.is_some() {
            let rounding = sensitivity(model, samples, batches);
            bound = bound.with(rounding, |bound, rounding| bound.max(2.0 * rounding));
        }
        self.add_within(compare(model, samples, batches), bound, what);
    }

    fn add_within(&mut self, found: Apart, bound: Apart, what: &str) {
        self.worst = self.worst.worst(found);
        let above = found.above(bound);
        if !above.is_empty() {
            self.above.push(format!("{what}: {}", above.join(", ")));
        }
    }

    fn check(self) {
        println!("worst: {:?}", self.worst.named());
        assert!(self.above.is_empty(), "{}", self.above.join("\n"));
    }
}

/// What one engine makes of the batches.
struct Trained {
    loss: f32,
    input_grad: HostTensor,
    evaluated: HostTensor,
    /// After one batch; momentum is the gradient then, in all its bits.
    once: StageState,
    last: StageState,
}

fn trained<S: Stage>(mut stage: S, model: &Model, samples: usize, batches: usize) -> Trained {
    let [channels, side, _] = model.input;
    let mut first = None;
    for batch in 0..batches {
        let input = images(samples, channels, side, batch);
        let input = stage.upload(input).unwrap();
        let (logits, graph) = stage.record(&input, batch).unwrap();
        let labels = labels(samples, model.classes, batch);
        let Loss { value, grad, .. } = stage.loss(&logits, &labels, 1.0).unwrap();
        let input_grad = stage.backward(graph, grad).unwrap();
        stage.update(RATE).unwrap();
        if first.is_none() {
            let input_grad = input_grad.unwrap().to_host().unwrap();
            let evaluated = stage.evaluate(&input).unwrap().to_host().unwrap();
            first = Some((value, input_grad, evaluated, stage.export().unwrap()));
        }
    }
    let (loss, input_grad, evaluated, once) = first.unwrap();
    Trained {
        loss,
        input_grad,
        evaluated,
        once,
        last: stage.export().unwrap(),
    }
}

/// The largest difference and the largest value.
fn difference(a: &HostTensor, b: &HostTensor) -> (f64, f64) {
    assert_eq!(a.shape, b.shape);
    let largest = |values: &mut dyn Iterator<Item = f32>| {
        values.fold(0.0, |largest: f64, value| {
            assert!(value.is_finite());
            largest.max(f64::from(value.abs()))
        })
    };
    let mut differences = a.data.iter().zip(&b.data).map(|(a, b)| a - b);
    let size = largest(&mut a.data.iter().copied());
    (largest(&mut differences), size)
}

fn apart(a: &HostTensor, b: &HostTensor) -> f64 {
    let (difference, size) = difference(a, b);
    if difference == 0.0 {
        0.0
    } else {
        difference / size
    }
}

/// The worst of the tensors that are selected by name. Biases are measured by the weight of their layer where that is
/// larger: those that a batch normalisation takes out again are nothing but rounding. So are running means by the standard
/// deviation, which is what they are divided by: means of values of both signs are small and keep the rounding of the values.
fn states_apart(a: &StageState, b: &StageState, select: impl Fn(&str) -> bool) -> f64 {
    let mut worst = 0.0_f64;
    for (name, tensor) in a.tensors.iter().filter(|(name, _)| select(name)) {
        let (difference, mut size) = difference(tensor, &b.tensors[name]);
        let weight = name.replace(".bias", ".weight");
        if let Some(weight) = a.tensors.get(&weight) {
            size = size.max(self::difference(weight, weight).1);
        }
        let variance = name.replace(".running_mean", ".running_var");
        if let Some(variance) = a.tensors.get(&variance).filter(|_| variance != *name) {
            size = size.max(self::difference(variance, variance).1.sqrt());
        }
        if difference > 0.0 {
            worst = worst.max(difference / size);
        }
    }
    worst
}

fn spec(model: &Model) -> StageSpec<'_> {
    StageSpec {
        first: false,
        optimizer: Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::default(),
        },
        ..StageSpec::new(model, 0..model.blocks.len(), 11)
    }
}

fn compare(model: &Model, samples: usize, batches: usize) -> Apart {
    let burn = CpuStage::new(&spec(model), Default::default()).unwrap();
    let torch = TorchStage::new(&spec(model), device()).unwrap();
    assert_eq!(burn.export().unwrap(), torch.export().unwrap());
    let burn = trained(burn, model, samples, batches);
    let torch = trained(torch, model, samples, batches);
    distance(&burn, &torch)
}

fn distance(a: &Trained, b: &Trained) -> Apart {
    assert_eq!(a.last.counters, b.last.counters);
    let is_statistics = |name: &str| name.contains("running");
    let is_gradient = |name: &str| name.ends_with("momentum_buffer");
    Apart {
        loss: f64::from((a.loss - b.loss).abs() / a.loss),
        gradients: states_apart(&a.once, &b.once, is_gradient)
            .max(apart(&a.input_grad, &b.input_grad)),
        statistics: states_apart(&a.once, &b.once, is_statistics),
        evaluation: apart(&a.evaluated, &b.evaluated),
        weights: states_apart(&a.last, &b.last, |name| !name.starts_with("optimizer")),
    }
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
        bias,
        zero_weight: false,
    }
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
        vec![conv(3, 7, 3, 1, true), norm(7), Layer::Relu],
        vec![norm(3)],
        vec![norm(3), Layer::Relu],
        vec![Layer::Relu],
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
        vec![Layer::GlobalAvgPool],
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
    assert_eq!(kinds.len(), 10, "kinds of layers: {kinds:?}");
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
    // Training is chaotic: after ten batches, deep networks are apart whatever the engine.
    for (name, side, batches) in [
        ("resnet8", 32, 10),
        ("resnet20", 16, 10),
        ("resnet56", 8, 2),
        ("resnet164", 8, 2),
        ("resnet18-cifar", 8, 2),
        ("vgg11-bn", 32, 2),
        ("vgg16-bn", 32, 2),
    ] {
        let model = Model::by_name(name, [3, side, side], 10).unwrap();
        findings.add_deep(&model, batches, name);
    }
    findings.check();
}
