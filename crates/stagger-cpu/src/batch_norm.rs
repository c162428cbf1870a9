//! Batch normalisation with the sum and the ReLU that follow it, in as few passes over memory as there can be.

use stagger_engine::layered::{Normalization, NormalizationGrads, NormalizationTape, Normalized};

use crate::CpuTensor;
use crate::channels_last::{self as loops, Affine, Cut};
use crate::threads::Threads;

/// As [`stagger_engine::layered::Kernels::normalize`].
pub(crate) fn normalize(
    input: CpuTensor,
    with: &Normalization<CpuTensor>,
    addend: Option<CpuTensor>,
    wants_output: bool,
) -> Normalized<CpuTensor> {
    let input = input.into_channels_last();
    let [_, channels, ..] = input.sides();
    let loops::Moments { mean, variance } = loops::moments(input.values(), channels, &Threads);
    let output = wants_output.then(|| {
        let affine = affine(&mean, &variance, with);
        apply(input, &affine, addend, with.relu)
    });
    Normalized {
        output,
        mean: CpuTensor::row_major(mean, &[channels]),
        variance: CpuTensor::row_major(variance, &[channels]),
    }
}

/// As [`stagger_engine::layered::Kernels::normalize_by`].
pub(crate) fn normalize_by(
    input: CpuTensor,
    with: &Normalization<CpuTensor>,
    mean: &CpuTensor,
    variance: &CpuTensor,
    addend: Option<CpuTensor>,
) -> CpuTensor {
    let affine = affine(mean.values(), variance.values(), with);
    apply(input.into_channels_last(), &affine, addend, with.relu)
}

/// Normalises a channels-last tensor, in place if no other handle of it exists.
fn apply(input: CpuTensor, affine: &Affine, addend: Option<CpuTensor>, relu: bool) -> CpuTensor {
    let Some(addend) = addend else {
        return input.change(|values| loops::normalize(values, affine, relu, &Threads));
    };
    let addend = addend.into_channels_last();
    let output = input.change_with(&addend, |terms| {
        loops::normalize_add(terms, affine, relu, &Threads);
    });
    drop(addend);
    output
}

fn affine(mean: &[f32], variance: &[f32], with: &Normalization<CpuTensor>) -> Affine {
    let (scale, shift) = (with.scale.values(), with.shift.values());
    Affine::new(mean, variance, scale, shift, with.epsilon)
}

/// As [`stagger_engine::layered::Kernels::normalize_backward`]. The ReLU's mask is computed again from the input, which is
/// read anyway, and from the addend.
pub(crate) fn normalize_backward(
    tape: NormalizationTape<CpuTensor>,
    with: &Normalization<CpuTensor>,
    output_grad: CpuTensor,
) -> NormalizationGrads<CpuTensor> {
    let NormalizationTape {
        input,
        addend,
        added,
        result,
    } = tape;
    let input = input.into_channels_last();
    let mut grad = output_grad.into_channels_last();
    let [_, channels, ..] = input.sides();
    let affine = affine(result.mean.values(), result.variance.values(), with);
    let (sums, relu) = match addend {
        Some(addend) => {
            // The ReLU's share is taken out in place: what is left is the addend's gradient too.
            let addend = addend.into_channels_last();
            let cut = Cut::Addend(addend.values());
            let grads = grad.values_mut();
            let sums = loops::mask_gradient_sums(input.values(), cut, grads, &affine, &Threads);
            drop(addend);
            (sums, false)
        }
        None => {
            let (x, grads) = (input.values(), grad.values());
            let sums = loops::gradient_sums(x, grads, &affine, with.relu, &Threads);
            (sums, with.relu)
        }
    };
    let line = sums.line(&affine, input.values().len() / channels);
    let addend_grad = added.then(|| grad.clone());
    let input_grad = if !grad.is_unique() && input.is_unique() {
        input.change_with(&grad, |both| {
            loops::pull(both.swapped(), &affine, &line, relu, &Threads);
        })
    } else {
        let pulled = grad.change_with(&input, |both| {
            loops::pull(both, &affine, &line, relu, &Threads);
        });
        drop(input);
        pulled
    };
    NormalizationGrads {
        input: input_grad,
        scale: CpuTensor::row_major(sums.scale_grad(&affine), &[channels]),
        shift: CpuTensor::row_major(sums.shift_grad(), &[channels]),
        addend: addend_grad,
    }
}
