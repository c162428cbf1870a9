//! Batch normalisation, with or without ReLU, in as few passes over memory as there can be.

use burn_flex::FlexTensor;

use crate::channels_last::{self as loops, Affine, Serial};
use crate::layered::{Normalization, NormalizationGrads, Normalized};

use super::memory::{change, change_with, channels_last, recycle, row_major, sides, values};

/// As [`crate::burn::BurnKernels::normalize`].
pub(super) fn normalize(
    input: FlexTensor,
    with: &Normalization<FlexTensor>,
) -> Normalized<FlexTensor> {
    let input = channels_last(input);
    let [_, channels, ..] = sides(&input);
    let loops::Moments { mean, variance } = loops::moments(values(&input), channels, &Serial);
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
    change(input, |values| {
        loops::normalize(values, &affine, with.relu, &Serial);
    })
}

fn affine(mean: &[f32], variance: &[f32], with: &Normalization<FlexTensor>) -> Affine {
    let (scale, shift) = (with.scale.to_contiguous(), with.shift.to_contiguous());
    Affine::new(mean, variance, values(&scale), values(&shift), with.epsilon)
}

/// As [`crate::burn::BurnKernels::normalize_backward`].
pub(super) fn normalize_backward(
    input: FlexTensor,
    result: &Normalized<FlexTensor>,
    with: &Normalization<FlexTensor>,
    output_grad: FlexTensor,
) -> NormalizationGrads<FlexTensor> {
    let input = channels_last(input);
    let output_grad = channels_last(output_grad);
    let [_, channels, ..] = sides(&input);
    let affine = affine(values(&result.mean), values(&result.variance), with);
    let relu = with.relu;
    let (x, grads) = (values(&input), values(&output_grad));
    let sums = loops::gradient_sums(x, grads, &affine, relu, &Serial);
    let line = sums.line(&affine, x.len() / channels);
    let input_grad = change_with(output_grad, &input, |both| {
        loops::pull(both, &affine, &line, relu, &Serial);
    });
    recycle(input);
    NormalizationGrads {
        input: input_grad,
        scale: row_major(sums.scale_grad(&affine), &[channels]),
        shift: row_major(sums.shift_grad(), &[channels]),
        addend: None,
    }
}
