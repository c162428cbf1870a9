//! The shape of (26) on the smooth network: the mean of `‖∇F‖²` over T updates at the rate `ρ / √T`, by T.

use super::network;
use super::setting::{Setting, squared};

/// `ρ`.
const SCALE: f64 = 4.0;

/// Weight decay, without which weights grow, and `L` with them, the longer the run.
const DECAY: f64 = 0.1;

/// Versions of a run at which the gradient is taken.
const SAMPLES: usize = 128;

/// The mean of `‖∇F‖²`, weight decay included, for each of these lengths, on batches drawn at random.
pub fn means(setting: &Setting, lengths: &[usize]) -> Vec<f64> {
    let of = |&length: &usize| {
        let mut setting = setting.clone();
        setting.decay = DECAY;
        setting.rate = SCALE / (length as f64).sqrt();
        let mut state = length as u64;
        let draw = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % setting.batches.len()
        };
        let sequence: Vec<usize> = (0..length).map(draw).collect();
        let history = setting.train(&sequence);
        let gradients = (0..SAMPLES).map(|sample| {
            let weights = &history.weights[sample * length / SAMPLES];
            let gradient = setting.gradient(weights);
            squared(&network::moved(&gradient, DECAY, weights))
        });
        gradients.sum::<f64>() / SAMPLES as f64
    };
    lengths.iter().map(of).collect()
}

/// Least squares on logarithmic axes.
pub fn slope(lengths: &[usize], means: &[f64]) -> f64 {
    let count = means.len() as f64;
    let xs: Vec<f64> = lengths.iter().map(|&length| (length as f64).ln()).collect();
    let ys: Vec<f64> = means.iter().map(|mean| mean.ln()).collect();
    let (x, y) = (
        xs.iter().sum::<f64>() / count,
        ys.iter().sum::<f64>() / count,
    );
    let above: f64 = xs.iter().zip(&ys).map(|(a, b)| (a - x) * (b - y)).sum();
    above / xs.iter().map(|a| (a - x).powi(2)).sum::<f64>()
}
