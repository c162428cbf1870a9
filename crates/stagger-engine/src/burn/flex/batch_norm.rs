//! Batch normalisation, with or without ReLU, in as few passes over memory as there can be.

mod loops;

use burn_flex::FlexTensor;

use crate::layered::{Normalization, NormalizationGrads, Normalized};

use super::arch;
use super::buffers::take;
use super::memory::{change, channels_last, from_channels_last, recycle, row_major, sides, values};
use super::moments::Rows;
use loops::{Affine, GradientSums, Line, Moments, Normalize, Pull};

/// As [`crate::burn::BurnKernels::normalize`].
pub(super) fn normalize(
    input: FlexTensor,
    with: &Normalization<FlexTensor>,
) -> Normalized<FlexTensor> {
    let input = channels_last(input);
    let [_, channels, ..] = sides(&input);
    let (mean, variance) = arch().dispatch(Moments {
        input: values(&input),
        channels,
    });
    let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    let (mean, variance): (Vec<f32>, Vec<f32>) = (single(mean), single(variance));
    let output = apply(input, &mean, &variance, with);
    Normalized {
        output: Some(output),
        mean: row_major(mean, &[channels]),
        variance: row_major(variance, &[channels]),
    }
}

/// As [`crate::burn::BurnKernels::normalize_by`].
pub(super) fn normalize_by(
    input: FlexTensor,
    with: &Normalization<FlexTensor>,
    mean: FlexTensor,
    variance: FlexTensor,
) -> FlexTensor {
    let (mean, variance) = (mean.to_contiguous(), variance.to_contiguous());
    apply(channels_last(input), values(&mean), values(&variance), with)
}

fn apply(
    input: FlexTensor,
    mean: &[f32],
    variance: &[f32],
    with: &Normalization<FlexTensor>,
) -> FlexTensor {
    let affine = affine(mean, variance, with);
    let mut output = take(values(&input).len());
    arch().dispatch(Normalize {
        input: values(&input),
        output: &mut output,
        affine: &affine,
        relu: with.relu,
    });
    let output = from_channels_last(output, sides(&input));
    recycle(input);
    output
}

fn affine(mean: &[f32], variance: &[f32], with: &Normalization<FlexTensor>) -> Affine {
    let rows = Rows::of(mean.len());
    let (scale, shift) = (with.scale.to_contiguous(), with.shift.to_contiguous());
    let factors = values(&scale)
        .iter()
        .zip(variance)
        .map(|(&scale, &variance)| {
            (f64::from(scale) / (f64::from(variance) + with.epsilon).sqrt()) as f32
        });
    Affine {
        mean: rows.repeat(mean.iter().copied()),
        factor: rows.repeat(factors),
        shift: rows.repeat(values(&shift).iter().copied()),
    }
}

/// As [`crate::burn::BurnKernels::normalize_backward`]: with `x̂ = (x − mean)/√(variance + ε)` and `g` the gradient that
/// the ReLU lets through, `dγ = Σ g·x̂`, `dβ = Σ g`, `dx = γ/√(variance + ε) · (g − mean(g) − x̂·mean(g·x̂))`.
pub(super) fn normalize_backward(
    input: FlexTensor,
    result: &Normalized<FlexTensor>,
    with: &Normalization<FlexTensor>,
    output_grad: FlexTensor,
) -> NormalizationGrads<FlexTensor> {
    let input = channels_last(input);
    let output_grad = channels_last(output_grad);
    let [_, channels, ..] = sides(&input);
    let rows = Rows::of(channels);
    let (mean, variance) = (values(&result.mean), values(&result.variance));
    let affine = affine(mean, variance, with);
    let relu = with.relu;
    let arch = arch();
    let (grads, projections) = arch.dispatch(GradientSums {
        input: values(&input),
        grads: values(&output_grad),
        channels,
        affine: &affine,
        relu,
    });

    let count = (values(&input).len() / channels) as f64;
    let inverse = |channel: usize| 1.0 / (f64::from(variance[channel]) + with.epsilon);
    let share = |channel: usize| -f64::from(affine.factor[channel]) / count;
    let each = 0..channels;
    let scale_grad = each
        .clone()
        .map(|channel| (projections[channel] * inverse(channel).sqrt()) as f32);
    let slope = each
        .clone()
        .map(|channel| (share(channel) * inverse(channel) * projections[channel]) as f32);
    let offset = each.map(|channel| (share(channel) * grads[channel]) as f32);
    let line = Line {
        slope: rows.repeat(slope),
        offset: rows.repeat(offset),
    };
    let input_grad = change(output_grad, rows.len(), |start, grads| {
        let input = &values(&input)[start..start + grads.len()];
        arch.dispatch(Pull {
            grads,
            input,
            affine: &affine,
            line: &line,
            relu,
        });
    });
    recycle(input);
    NormalizationGrads {
        input: input_grad,
        scale: row_major(scale_grad.collect(), &[channels]),
        shift: row_major(grads.iter().map(|&sum| sum as f32).collect(), &[channels]),
        addend: None,
    }
}
