//! How far apart two engines are after the same training, and what is too far.

use stagger_engine::{Activation, HostTensor, Loss, Stage, StageState};
use stagger_model::Model;

use stagger_conformance::fixtures::{images, labels};

/// Learning rate: so small that what the engines round differently is not blown up by training itself.
const RATE: f64 = 1e-3;

/// How far apart two engines are, each as a share of the largest value of the tensor in question.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apart {
    /// Loss of the first batch.
    pub loss: f64,
    /// Gradients of the first batch: of the input and of all parameters.
    pub gradients: f64,
    /// Running statistics after the first batch.
    pub statistics: f64,
    /// Logits of an evaluation after the first batch.
    pub evaluation: f64,
    /// Weights and running statistics after the last batch.
    pub weights: f64,
}

impl Apart {
    pub fn named(self) -> [(&'static str, f64); 5] {
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
            .filter(|((_, found), (_, bound))| found.is_nan() || found > bound)
            .map(|((name, found), _)| format!("{name} differ by {found:.1e} of their size"))
            .collect()
    }

    pub fn with(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            loss: of(self.loss, other.loss),
            gradients: of(self.gradients, other.gradients),
            statistics: of(self.statistics, other.statistics),
            evaluation: of(self.evaluation, other.evaluation),
            weights: of(self.weights, other.weights),
        }
    }

    pub fn worst(self, other: Self) -> Self {
        self.with(other, f64::max)
    }
}

/// What comes of comparing many models: all are compared before any fails.
pub struct Findings {
    pub bound: Apart,
    worst: Apart,
    above: Vec<String>,
}

impl Findings {
    pub fn new(bound: Apart) -> Self {
        Self {
            bound,
            worst: Apart::default(),
            above: Vec::new(),
        }
    }

    pub fn add(&mut self, found: Apart, what: &str) {
        self.add_within(found, self.bound, what);
    }

    pub fn add_within(&mut self, found: Apart, bound: Apart, what: &str) {
        self.worst = self.worst.worst(found);
        let above = found.above(bound);
        if !above.is_empty() {
            self.above.push(format!("{what}: {}", above.join(", ")));
        }
    }

    pub fn check(self) {
        println!("worst: {:?}", self.worst.named());
        assert!(self.above.is_empty(), "{}", self.above.join("\n"));
    }
}

/// What one engine makes of the batches.
pub struct Trained {
    loss: f32,
    input_grad: HostTensor,
    evaluated: HostTensor,
    /// After one batch; momentum is the gradient then, in all its bits.
    once: StageState,
    last: StageState,
}

pub fn trained<S: Stage>(mut stage: S, model: &Model, samples: usize, batches: usize) -> Trained {
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

pub fn distance(a: &Trained, b: &Trained) -> Apart {
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
