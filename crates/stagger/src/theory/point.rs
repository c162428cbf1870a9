//! What is measured at one version.

use stagger_engine::Optimizer;

use super::error::TheoryError;
use super::meter::{Found, Parameters, Sum};

/// What was measured at one version `n`, of the mean loss over the probe batches. With weight decay `λ`, `F` is that and
/// `λ/2 ‖w‖²`, over the weights that decay.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// `n`.
    pub version: usize,
    /// `F(w^n)`.
    pub loss: f64,
    /// `‖∇F(w^n)‖²`.
    pub gradient: f64,
    /// The variance of what the method computes of a batch, `E‖ζ_k‖²`, of each stage `k`.
    pub noise: Vec<f64>,
    /// `‖∇F(w^(n+1)) − ∇F(w^n)‖ / ‖w^(n+1) − w^n‖`; `None` where the weights did not move.
    pub curvature: Option<f64>,
    /// `‖w^n − w̃^n‖`: how far stale weights are from the newest ones.
    pub moved: f64,
    /// `‖e^n‖`: how far the mean of what the method computes is from the gradient.
    pub bias: f64,
}

impl Point {
    /// `‖e^n‖ / ‖w^n − w̃^n‖`, where weights were stale.
    #[must_use]
    pub fn spread(&self) -> Option<f64> {
        (self.moved > 0.0).then(|| self.bias / self.moved)
    }

    pub(super) fn of(
        version: usize,
        found: &Found,
        optimizer: &Optimizer,
    ) -> Result<Self, TheoryError> {
        let decay = optimizer.weight_decay();
        let Found {
            now,
            next,
            stale,
            places,
        } = found;
        // Squares over all parameters, of a value that a parameter has.
        let square = |value: &dyn Fn(usize, usize, usize, f64) -> f64| -> f64 {
            let mut sum = 0.0;
            for (k, tensors) in places.now.iter().enumerate() {
                for (p, tensor) in tensors.iter().enumerate() {
                    let rate = decay.rate_for(tensor.shape.len());
                    let values = 0..tensor.data.len();
                    sum += values.map(|i| value(k, p, i, rate).powi(2)).sum::<f64>();
                }
            }
            sum
        };
        let mean = |sum: &Sum, k: usize, p: usize, i: usize| {
            f64::from(sum.gradients[k][p][i]) / sum.batches as f64
        };
        let weight =
            |places: &Parameters, k: usize, p: usize, i: usize| f64::from(places[k][p].data[i]);
        let full = |sum: &Sum, places: &Parameters, k: usize, p: usize, i: usize, rate: f64| {
            mean(sum, k, p, i) + rate * weight(places, k, p, i)
        };
        let step =
            square(&|k, p, i, _| weight(&places.next, k, p, i) - weight(&places.now, k, p, i));
        let turned = square(&|k, p, i, rate| {
            full(next, &places.next, k, p, i, rate) - full(now, &places.now, k, p, i, rate)
        });
        let (moved, bias) = match (stale, &places.stale) {
            (Some(stale), Some(there)) => (
                square(&|k, p, i, _| weight(&places.now, k, p, i) - weight(there, k, p, i)),
                square(&|k, p, i, _| mean(stale, k, p, i) - mean(now, k, p, i)),
            ),
            _ => (0.0, 0.0),
        };
        let decayed = square(&|k, p, i, rate| rate.sqrt() * weight(&places.now, k, p, i));
        let point = Self {
            version,
            loss: now.loss / now.batches as f64 + 0.5 * decayed,
            gradient: square(&|k, p, i, rate| full(now, &places.now, k, p, i, rate)),
            noise: noise(stale.as_ref().unwrap_or(now)),
            curvature: (step > 0.0).then(|| (turned / step).sqrt()),
            moved: moved.sqrt(),
            bias: bias.sqrt(),
        };
        point.check()?;
        Ok(point)
    }

    fn check(&self) -> Result<(), TheoryError> {
        let is_finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let curvature = self.curvature.unwrap_or_default();
        let rest = [self.gradient, curvature, self.moved, self.bias];
        let what = match (self.loss.is_finite(), is_finite(&rest)) {
            (false, _) => "the loss",
            (true, false) => "the gradient",
            (true, true) if !is_finite(&self.noise) => "the variance of the gradient",
            (true, true) => return Ok(()),
        };
        let version = self.version;
        Err(TheoryError::NotFinite { what, version })
    }
}

/// The unbiased estimate of the variance of each stage's gradient, out of sums over batches.
fn noise(sum: &Sum) -> Vec<f64> {
    let batches = sum.batches as f64;
    let stages = sum.gradients.iter().zip(&sum.squares);
    let of_stage = |(gradients, squares): (&Vec<Vec<f32>>, &f64)| {
        let values = gradients.iter().flatten();
        let of_sum: f64 = values.map(|&value| f64::from(value).powi(2)).sum();
        ((squares - of_sum / batches) / (batches - 1.0)).max(0.0)
    };
    stages.map(of_stage).collect()
}
