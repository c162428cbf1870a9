//! A network small enough to check by hand: stage k is `y = tanh(W x + b)` on vectors of
//! [`WIDTH`], with momentum SGD. The arithmetic is in free functions, so that the oracle can hold
//! its own history of weights and still agree to the bit.

/// Width of every layer.
pub const WIDTH: usize = 3;

/// Parameters, or a gradient of them: `W` row by row, then `b`.
pub type Weights = [f32; WIDTH * WIDTH + WIDTH];

/// Rows of [`WIDTH`] values, one per sample.
pub type Rows = Vec<[f32; WIDTH]>;

/// Weights of stage `stage` before training.
pub fn initial_weights(stage: usize) -> Weights {
    std::array::from_fn(|i| ((stage * 31 + i * 17 + 5) % 13) as f32 / 13.0 - 0.45)
}

/// The stage's function.
pub fn forward(weights: &Weights, inputs: &Rows) -> Rows {
    let row = |x: &[f32; WIDTH]| {
        std::array::from_fn(|o| {
            let sum: f32 = (0..WIDTH).map(|i| weights[o * WIDTH + i] * x[i]).sum();
            (sum + weights[WIDTH * WIDTH + o]).tanh()
        })
    };
    inputs.iter().map(row).collect()
}

/// The sum of each column, and behind them the number of rows.
pub fn sums(rows: &Rows) -> Vec<f32> {
    let column = |at: usize| rows.iter().map(|row| row[at]).sum::<f32>();
    let sums = (0..WIDTH).map(column);
    sums.chain([rows.len() as f32]).collect()
}

/// The mean of each column over several [`sums`].
pub fn mean(all: &[Vec<f32>]) -> [f32; WIDTH] {
    let sum = |at: usize| all.iter().map(|sums| sums[at]).sum::<f32>();
    std::array::from_fn(|at| sum(at) / sum(WIDTH))
}

/// Rows less a mean.
pub fn centred(rows: &Rows, mean: [f32; WIDTH]) -> Rows {
    let row = |row: &[f32; WIDTH]| std::array::from_fn(|at| row[at] - mean[at]);
    rows.iter().map(row).collect()
}

/// Pulls a gradient of the outputs back to the inputs and the weights.
pub fn pull_back(weights: &Weights, inputs: &Rows, output_grads: &Rows) -> (Rows, Weights) {
    let outputs = forward(weights, inputs);
    let mut weight_grad = [0.0; WIDTH * WIDTH + WIDTH];
    let mut input_grads = Vec::new();
    for ((x, y), dy) in inputs.iter().zip(&outputs).zip(output_grads) {
        let mut dx = [0.0; WIDTH];
        for o in 0..WIDTH {
            let dz = dy[o] * (1.0 - y[o] * y[o]);
            for i in 0..WIDTH {
                weight_grad[o * WIDTH + i] += dz * x[i];
                dx[i] += dz * weights[o * WIDTH + i];
            }
            weight_grad[WIDTH * WIDTH + o] += dz;
        }
        input_grads.push(dx);
    }
    (input_grads, weight_grad)
}

/// Half the mean squared distance of the first output to the label, and its gradient.
pub fn loss(outputs: &Rows, labels: &[usize]) -> (f32, Rows) {
    let scale = 1.0 / outputs.len() as f32;
    let mut value = 0.0;
    let mut grads = Vec::new();
    for (y, &label) in outputs.iter().zip(labels) {
        let distance = y[0] - label as f32 * 0.5;
        value += 0.5 * scale * distance * distance;
        let mut grad = [0.0; WIDTH];
        grad[0] = scale * distance;
        grads.push(grad);
    }
    (value, grads)
}

/// Momentum of the toy runs.
pub const MOMENTUM: f64 = 0.9;

/// Momentum SGD: `v ← β·v + g`, `w ← w − η·(s·g + (1 − s·(1 − β))·v)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// `β`.
    pub beta: f64,
    /// `s`: 0 for the heavy ball, 1 for Nesterov's look-ahead.
    pub nesterov: f64,
}

impl Momentum {
    /// A step, in place.
    pub fn step(
        self,
        weights: &mut Weights,
        velocity: &mut Weights,
        grad: &Weights,
        learning_rate: f64,
    ) {
        let of_velocity = (1.0 - self.nesterov * (1.0 - self.beta)) as f32;
        for ((w, v), g) in weights.iter_mut().zip(velocity).zip(grad) {
            *v = self.beta as f32 * *v + g;
            *w -= learning_rate as f32 * (self.nesterov as f32 * g + of_velocity * *v);
        }
    }
}

/// `weights + factor·direction`.
pub fn displaced(weights: &Weights, direction: &Weights, factor: f64) -> Weights {
    std::array::from_fn(|i| weights[i] + factor as f32 * direction[i])
}

/// `drift ← keep·drift + (1 − keep)·(after − before)`.
pub fn follow(drift: &mut Weights, keep: f64, before: &Weights, after: &Weights) {
    for ((drift, before), after) in drift.iter_mut().zip(before).zip(after) {
        *drift = keep as f32 * *drift + (1.0 - keep) as f32 * (after - before);
    }
}

/// Euclidean norms of `weights − from` and of `weights`.
pub fn distance(weights: &Weights, from: &Weights) -> (f64, f64) {
    let norm = |values: Weights| {
        let squares = values.iter().map(|&value| f64::from(value).powi(2));
        squares.sum::<f64>().sqrt()
    };
    (norm(displaced(weights, from, -1.0)), norm(*weights))
}

/// Every value times a number; untouched for 1.
pub fn scaled(mut rows: Rows, factor: f64) -> Rows {
    if factor != 1.0 {
        for value in rows.as_flattened_mut() {
            *value *= factor as f32;
        }
    }
    rows
}

/// Mean squared difference over all values, and its gradient by the prediction.
pub fn mse_loss(predicted: &Rows, target: &Rows) -> (f64, Rows) {
    let values = (predicted.len() * WIDTH) as f64;
    let mut grads = predicted.clone();
    for (grad, target) in grads
        .as_flattened_mut()
        .iter_mut()
        .zip(target.as_flattened())
    {
        *grad -= target;
    }
    let squares = grads.as_flattened().iter();
    let value = squares.map(|&value| f64::from(value).powi(2)).sum::<f64>() / values;
    (value, scaled(grads, 2.0 / values))
}

/// Learning rate of a batch: varies, so that a wrong batch index shows.
pub fn learning_rate(batch: usize) -> f64 {
    0.2 / (1.0 + 0.1 * batch as f64)
}

/// Samples in a batch: varies, so that a swapped batch shows; enough for three micro-batches, mostly uneven ones.
pub fn batch_inputs(batch: usize) -> Rows {
    let samples = 3 + batch % 3;
    let value = |s: usize, i: usize| ((batch * 7 + s * 5 + i * 3) % 11) as f32 / 11.0 - 0.5;
    (0..samples)
        .map(|s| std::array::from_fn(|i| value(s, i)))
        .collect()
}

/// Labels of a batch.
pub fn batch_labels(batch: usize) -> Vec<usize> {
    (0..3 + batch % 3).map(|s| (batch + s) % 2).collect()
}
