//! DSP written straight from its definition, with the whole history of weights kept.
//!
//! Batch j goes up through stage i at version max(0, j − m_i); its gradient comes down through
//! stage k at version j, around the very inputs that went up (DESIGN §2, fact 3).

use super::toy::{self, Rows, Weights};

/// What a run must reproduce to the bit.
#[derive(Debug, PartialEq)]
pub struct Reference {
    /// Loss of every batch.
    pub losses: Vec<f32>,
    /// Final weights of every stage.
    pub weights: Vec<Weights>,
    /// Evaluation losses at the versions asked for.
    pub evaluations: Vec<f64>,
}

/// Evaluation batches are training batches `EVALUATION_OFFSET..`, this many.
pub const EVALUATION_BATCHES: usize = 3;
/// Keeps evaluation inputs apart from training inputs.
pub const EVALUATION_OFFSET: usize = 1_000;

/// Trains on batches `0..batches` with staleness `m`.
pub fn train(m: &[usize], batches: usize, evaluate_at: &[usize]) -> Reference {
    let stages = m.len();
    let mut history: Vec<Vec<Weights>> =
        (0..stages).map(|k| vec![toy::initial_weights(k)]).collect();
    let mut velocity = vec![[0.0; toy::WIDTH * toy::WIDTH + toy::WIDTH]; stages];
    let mut losses = Vec::new();
    for j in 0..batches {
        let mut inputs: Vec<Rows> = vec![toy::batch_inputs(j)];
        for i in 0..stages {
            let stale = &history[i][j.saturating_sub(m[i])];
            inputs.push(toy::forward(stale, &inputs[i]));
        }
        let (value, mut grad) = toy::loss(&inputs[stages], &toy::batch_labels(j));
        losses.push(value);
        for k in (0..stages).rev() {
            let mut weights = history[k][j];
            let (input_grad, weight_grad) = toy::pull_back(&weights, &inputs[k], &grad);
            toy::step(
                &mut weights,
                &mut velocity[k],
                &weight_grad,
                toy::learning_rate(j),
            );
            history[k].push(weights);
            grad = input_grad;
        }
    }
    let evaluations = evaluate_at.iter().map(|&n| evaluate(&history, n)).collect();
    Reference {
        losses,
        weights: history.iter().map(|h| h[batches]).collect(),
        evaluations,
    }
}

fn evaluate(history: &[Vec<Weights>], version: usize) -> f64 {
    let (mut sum, mut samples) = (0.0, 0);
    for batch in EVALUATION_OFFSET..EVALUATION_OFFSET + EVALUATION_BATCHES {
        let labels = toy::batch_labels(batch);
        let outputs = history
            .iter()
            .fold(toy::batch_inputs(batch), |rows, stage| {
                toy::forward(&stage[version], &rows)
            });
        sum += f64::from(toy::loss(&outputs, &labels).0) * labels.len() as f64;
        samples += labels.len();
    }
    sum / samples as f64
}
