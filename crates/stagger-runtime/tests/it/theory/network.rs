//! A smooth network in `f64`: stage k is `y = tanh(W x + b)` on vectors of [`WIDTH`], the last one gives the logits.
//!
//! Everything here is of one sample. A batch has the mean of its samples' losses.

use proptest::prelude::*;

/// Width of every layer, and the number of classes.
pub const WIDTH: usize = 3;

/// Parameters of a stage.
pub const SIZE: usize = WIDTH * WIDTH + WIDTH;

/// Parameters of a stage, or a gradient of them: `W` row by row, then `b`.
pub type Stage = [f64; SIZE];

/// Parameters of all stages.
pub type Weights = Vec<Stage>;

pub type Vector = [f64; WIDTH];

/// An input and its label.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub input: Vector,
    pub label: usize,
}

/// What is drawn for one update.
pub type Batch = Vec<Sample>;

pub fn forward(weights: &Stage, x: &Vector) -> Vector {
    std::array::from_fn(|o| {
        let sum: f64 = (0..WIDTH).map(|i| weights[o * WIDTH + i] * x[i]).sum();
        (sum + weights[WIDTH * WIDTH + o]).tanh()
    })
}

/// Pulls a gradient of the output back to the input and the weights.
pub fn pull_back(weights: &Stage, x: &Vector, output_grad: &Vector) -> (Vector, Stage) {
    let y = forward(weights, x);
    let (mut input_grad, mut grad) = ([0.0; WIDTH], [0.0; SIZE]);
    for o in 0..WIDTH {
        let slope = output_grad[o] * (1.0 - y[o] * y[o]);
        for i in 0..WIDTH {
            grad[o * WIDTH + i] = slope * x[i];
            input_grad[i] += slope * weights[o * WIDTH + i];
        }
        grad[WIDTH * WIDTH + o] = slope;
    }
    (input_grad, grad)
}

/// Cross-entropy of logits, and its gradient.
pub fn loss(logits: &Vector, label: usize) -> (f64, Vector) {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let grad = std::array::from_fn(|at| {
        let share = logits[at].exp() / sum;
        if at == label { share - 1.0 } else { share }
    });
    (sum.ln() - logits[label], grad)
}

/// A forward and a backward pass of one sample, as docs/theory.md (1) and (2) have them.
pub struct Passes {
    /// `x_0, …, x_K`.
    pub points: Vec<Vector>,
    /// `G_0, …, G_K`.
    pub upstream: Vec<Vector>,
    /// `g_0, …, g_{K−1}`.
    pub grads: Weights,
}

/// Pulls back at `weights` around the points that `stale` weights have sent up.
pub fn passes(weights: &[Stage], stale: &[Stage], sample: &Sample) -> Passes {
    let mut points = vec![sample.input];
    for (at, stage) in stale.iter().enumerate() {
        points.push(forward(stage, &points[at]));
    }
    let stages = weights.len();
    let mut upstream = vec![[0.0; WIDTH]; stages + 1];
    let mut grads = vec![[0.0; SIZE]; stages];
    upstream[stages] = loss(&points[stages], sample.label).1;
    for k in (0..stages).rev() {
        (upstream[k], grads[k]) = pull_back(&weights[k], &points[k], &upstream[k + 1]);
    }
    Passes {
        points,
        upstream,
        grads,
    }
}

/// `g(w, u; ξ)` of a batch.
pub fn gradient(weights: &[Stage], stale: &[Stage], batch: &[Sample]) -> Weights {
    let of_samples = batch
        .iter()
        .map(|sample| passes(weights, stale, sample).grads);
    mean(of_samples)
}

/// `F(w)`, where all batches are equally likely and equally long.
pub fn objective(weights: &[Stage], batches: &[Batch]) -> f64 {
    let of_sample = |sample: &Sample| {
        let logits = weights
            .iter()
            .fold(sample.input, |x, stage| forward(stage, &x));
        loss(&logits, sample.label).0
    };
    let losses = batches.iter().flatten().map(of_sample);
    losses.sum::<f64>() / batches.iter().flatten().count() as f64
}

/// `∇F(w)`.
pub fn full_gradient(weights: &[Stage], batches: &[Batch]) -> Weights {
    mean(
        batches
            .iter()
            .map(|batch| gradient(weights, weights, batch)),
    )
}

/// `weights + factor·direction`.
pub fn moved(weights: &[Stage], factor: f64, direction: &[Stage]) -> Weights {
    let stages = weights.iter().zip(direction);
    stages
        .map(|(weights, direction)| std::array::from_fn(|i| weights[i] + factor * direction[i]))
        .collect()
}

pub fn mean(all: impl ExactSizeIterator<Item = Weights>) -> Weights {
    let share = 1.0 / all.len() as f64;
    all.map(|one| moved(&vec![[0.0; SIZE]; one.len()], share, &one))
        .reduce(|sum, one| moved(&sum, 1.0, &one))
        .expect("at least one")
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The norm of each stage's part.
pub fn norms(weights: &[Stage]) -> Vec<f64> {
    weights.iter().map(|stage| norm(stage)).collect()
}

/// The norm of each stage's part of a difference.
pub fn distances(one: &[Stage], other: &[Stage]) -> Vec<f64> {
    norms(&moved(one, -1.0, other))
}

pub fn inner(one: &[Stage], other: &[Stage]) -> f64 {
    let pairs = one.as_flattened().iter().zip(other.as_flattened());
    pairs.map(|(one, other)| one * other).sum()
}

/// Weights to start from.
pub fn any_weights(stages: usize) -> impl Strategy<Value = Weights> {
    let stage = proptest::array::uniform12(-0.6..0.6_f64);
    proptest::collection::vec(stage, stages)
}

/// Batches of two samples. Inputs are eighths, which `f32` holds exactly.
pub fn any_batches(batches: usize) -> impl Strategy<Value = Vec<Batch>> {
    let input = proptest::array::uniform3((-8_i8..=8).prop_map(|eighths| f64::from(eighths) / 8.0));
    let sample = (input, 0..WIDTH).prop_map(|(input, label)| Sample { input, label });
    proptest::collection::vec(proptest::collection::vec(sample, 2), batches)
}
