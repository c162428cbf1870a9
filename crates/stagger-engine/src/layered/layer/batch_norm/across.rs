//! Batch normalisation over the shares of all replicas of a stage.
//!
//! Forward, the replicas tell each other mean, variance and count of their shares, and each puts the same numbers together in the
//! same order. Backward, with `x̂ = (x − mean)/σ` and `g` the gradient that the ReLU lets through,
//! `dx = γ/σ · (g − G₁/N − x̂·G₂/N)`, where `G₁ = Σ g` and `G₂ = Σ g·x̂` are sums over all N values of a channel. A kernel sees one
//! share, and puts the sums `S₁`, `S₂` and the count n of that share in their places. What is then missing,
//! `γ/σ · ((S₁/n − G₁/N) + x̂·(S₂/n − G₂/N))`, is a normalisation of the input with another scale and shift: it is added by the
//! kernel that adds a normalised input to something else.

use std::sync::Arc;

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Normalization};
use crate::layered::layer::{Pass, sides};
use crate::layered::timing::timed;
use crate::precision::Precision;
use crate::replicas::AcrossReplicas;
use crate::tensor::HostTensor;

/// The statistics of a whole batch.
pub(super) struct Whole<K: Kernels> {
    /// `[C]`.
    pub mean: K::Tensor,
    /// Biased, `[C]`.
    pub variance: K::Tensor,
    /// Values per channel.
    pub count: usize,
    pub share: Share<K>,
}

/// What the way back has to know of the whole batch besides its statistics.
pub(super) struct Share<K: Kernels> {
    replicas: Arc<dyn AcrossReplicas>,
    precision: Precision,
    device: K::Device,
    /// Values per channel of this replica, and of all of them.
    own_count: usize,
    count: usize,
    /// `1/σ` of each channel.
    inverse_std: Vec<f64>,
}

/// Counts cross as two halves, which single precision holds exactly.
const HALF_BITS: u32 = 24;

impl<K: Kernels> Whole<K> {
    /// Those of the batch of which `input` is this replica's share.
    pub fn of(
        input: &K::Tensor,
        with: &Normalization<K::Tensor>,
        pass: &Pass<'_, K>,
        replicas: &Arc<dyn AcrossReplicas>,
    ) -> Result<Self, EngineError> {
        let [samples, channels, height, width] = sides::<K>(input);
        let own_count = samples * height * width;
        let own = timed("normalization", || {
            K::normalize(input.clone(), with, None, false)
        })?;
        let mut values = download::<K>(&own.mean)?;
        values.extend(download::<K>(&own.variance)?);
        values.push((own_count >> HALF_BITS) as f32);
        values.push((own_count & ((1 << HALF_BITS) - 1)) as f32);
        let all = gather(replicas, values)?;
        let shares = all.iter().map(|values| Moments::read(values, channels));
        let shares: Vec<Moments<'_>> = shares.collect::<Option<_>>().ok_or_else(other_values)?;

        let count: usize = shares.iter().map(|share| share.count).sum();
        let (mut mean, mut variance, mut inverse_std) = (vec![], vec![], vec![]);
        for channel in 0..channels {
            let (mean_here, variance_here) = together(&shares, channel, count);
            mean.push(mean_here as f32);
            // The kernels' own σ is that of the variance in single precision.
            let rounded = variance_here as f32;
            variance.push(rounded);
            inverse_std.push(1.0 / (f64::from(rounded) + with.epsilon).sqrt());
        }
        let precision = pass.precision.master();
        Ok(Self {
            mean: upload::<K>(mean, precision, pass.device)?,
            variance: upload::<K>(variance, precision, pass.device)?,
            count,
            share: Share {
                replicas: Arc::clone(replicas),
                precision,
                device: pass.device.clone(),
                own_count,
                count,
                inverse_std,
            },
        })
    }
}

/// Mean, variance and count of a share, as they were sent.
struct Moments<'a> {
    mean: &'a [f32],
    variance: &'a [f32],
    count: usize,
}

impl<'a> Moments<'a> {
    fn read(values: &'a [f32], channels: usize) -> Option<Self> {
        let (mean, rest) = values.split_at_checked(channels)?;
        let (variance, rest) = rest.split_at_checked(channels)?;
        let &[high, low] = rest else { return None };
        let count = (high as usize) << HALF_BITS | low as usize;
        Some(Self {
            mean,
            variance,
            count,
        })
    }
}

/// Mean and biased variance of a channel over all shares (Chan, Golub and LeVeque 1979), in the order of the replicas.
fn together(shares: &[Moments<'_>], channel: usize, count: usize) -> (f64, f64) {
    let of = |values: &[f32]| values.get(channel).copied().map_or(f64::NAN, f64::from);
    let weighted = shares.iter().map(|share| (share.count as f64, share));
    let sum: f64 = weighted
        .clone()
        .map(|(weight, share)| weight * of(share.mean))
        .sum();
    let mean = sum / count as f64;
    let squares: f64 = weighted
        .map(|(weight, share)| weight * (of(share.variance) + (of(share.mean) - mean).powi(2)))
        .sum();
    (mean, squares / count as f64)
}

impl<K: Kernels> Share<K> {
    /// The gradient of the input by the sums of the whole batch. `input_grad` is that by the sums of this share, which are the
    /// gradients of scale and shift; `input` is what was normalised, by these statistics and this scale.
    pub fn complete(
        self,
        input_grad: K::Tensor,
        [scale_grad, shift_grad]: [&K::Tensor; 2],
        normalized: Normalized<K::Tensor>,
    ) -> Result<K::Tensor, EngineError> {
        let Normalized {
            input,
            scale,
            epsilon,
            mean,
            variance,
        } = normalized;
        let channels = self.inverse_std.len();
        let mut own = download::<K>(shift_grad)?;
        own.extend(download::<K>(scale_grad)?);
        let all = gather(&self.replicas, own.clone())?;
        let sum = |at: usize| -> Option<f64> {
            let each = all.iter().map(|values| values.get(at).copied());
            each.map(|value| value.map(f64::from)).sum()
        };
        let (own_count, count) = (self.own_count as f64, self.count as f64);
        // S/n − G/N, of S₁ first.
        let differences = own.iter().enumerate().map(|(at, &own)| {
            let all = sum(at)?;
            Some(f64::from(own) / own_count - all / count)
        });
        let differences: Option<Vec<f64>> = differences.collect();
        let mut first = differences.ok_or_else(other_values)?;
        if first.len() != 2 * channels {
            return Err(other_values());
        }
        let second = first.split_off(channels);
        // Both divided by σ.
        let upload = |differences: Vec<f64>| {
            let each = differences.iter().zip(&self.inverse_std);
            let values = each.map(|(difference, inverse_std)| (difference * inverse_std) as f32);
            upload::<K>(values.collect(), self.precision, &self.device)
        };
        let (shift, slope) = (upload(first)?, upload(second)?);
        timed("normalization backward", || {
            let with = Normalization {
                scale: K::multiply(slope, scale.clone())?,
                shift: K::multiply(shift, scale)?,
                epsilon,
                relu: false,
            };
            K::normalize_by(input, &with, mean, variance, Some(input_grad))
        })
    }
}

/// What was normalised, and by what.
pub(super) struct Normalized<T> {
    pub input: T,
    pub scale: T,
    pub epsilon: f64,
    pub mean: T,
    pub variance: T,
}

fn download<K: Kernels>(tensor: &K::Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(timed("download", || K::download(tensor))?.data)
}

fn upload<K: Kernels>(
    values: Vec<f32>,
    precision: Precision,
    device: &K::Device,
) -> Result<K::Tensor, EngineError> {
    let host = HostTensor::new(vec![values.len()], values)?;
    timed("upload", || K::upload(host, precision, device))
}

/// As many values of every replica as `own`.
fn gather(replicas: &Arc<dyn AcrossReplicas>, own: Vec<f32>) -> Result<Vec<Vec<f32>>, EngineError> {
    let expected = own.len();
    let all = replicas.gather(own)?;
    match all.iter().all(|values| values.len() == expected) {
        true => Ok(all),
        false => Err(other_values()),
    }
}

fn other_values() -> EngineError {
    EngineError::Replicas {
        message: "one of them has other channels".to_owned(),
    }
}
