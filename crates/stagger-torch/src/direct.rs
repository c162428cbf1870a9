//! What lies between the convolutions on the CPU: fused loops over the values themselves, in place where the
//! tensor has no other handle.

mod shapes;

use tch::{Kind, Tensor};

use crate::failure::OrFailure;
use stagger_cpu::channels_last::{self, Affine, Bf16, Binary, Cut, Images, Parallel, Unary};
use stagger_engine::EngineError;
use stagger_engine::layered::{Normalization, NormalizationGrads, NormalizationTape, Normalized};

use super::TorchTensor;
use super::order::{empty_like, ordered, owned};
use super::shim::{self, Stored, is_unique, values, values_mut};

pub(super) use shapes::{
    channel_run, concat, global_average, global_average_backward, subsample, subsample_backward,
};

type Result<T> = std::result::Result<T, EngineError>;

/// The threads that libtorch has for the calling thread, which its own operations use too.
pub(super) struct Threads;

impl Parallel for Threads {
    fn parts(&self) -> usize {
        usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        // It fails only when `work` does, and then passes its panic on.
        let ran = shim::parallel_for(0, parts, 1, &|first, last| (first..last).for_each(work));
        if let Err(error) = ran {
            panic!("{error}");
        }
    }
}

/// Calls a function with the type of values that a tensor holds.
macro_rules! by_kind {
    ($tensor:expr, $function:ident($($argument:expr),*)) => {
        match $tensor.kind() {
            Kind::BFloat16 => $function::<Bf16>($($argument),*),
            _ => $function::<f32>($($argument),*),
        }
    };
}
use by_kind;

pub(super) fn normalize(
    input: Tensor,
    with: &Normalization<TorchTensor>,
    addend: Option<TorchTensor>,
    wants_output: bool,
) -> Result<Normalized<TorchTensor>> {
    let input = ordered(input)?;
    let channels = channels(&input);
    let moments = match input.kind() {
        Kind::BFloat16 => channels_last::moments::<Bf16>(values(&input)?, channels, &Threads),
        _ => channels_last::moments::<f32>(values(&input)?, channels, &Threads),
    };
    let output = wants_output
        .then(|| {
            let affine = affine(&moments.mean, &moments.variance, with)?;
            apply(input, &affine, addend, with.relu)
        })
        .transpose()?;
    Ok(Normalized {
        output: output.map(TorchTensor::from),
        mean: vector(&moments.mean)?,
        variance: vector(&moments.variance)?,
    })
}

pub(super) fn normalize_by(
    input: Tensor,
    with: &Normalization<TorchTensor>,
    mean: &Tensor,
    variance: &Tensor,
    addend: Option<TorchTensor>,
) -> Result<Tensor> {
    let affine = affine(values(mean)?, values(variance)?, with)?;
    apply(ordered(input)?, &affine, addend, with.relu)
}

/// Normalises, in place if the input has no other handle.
fn apply(
    input: Tensor,
    affine: &Affine,
    addend: Option<TorchTensor>,
    relu: bool,
) -> Result<Tensor> {
    let addend = addend
        .map(|addend| ordered(addend.into_tensor()))
        .transpose()?;
    by_kind!(input, apply_to(input, affine, addend, relu))
}

fn apply_to<T: Stored>(
    mut input: Tensor,
    affine: &Affine,
    addend: Option<Tensor>,
    relu: bool,
) -> Result<Tensor> {
    if is_unique(&input) {
        let left = values_mut::<T>(&mut input)?;
        match &addend {
            None => channels_last::normalize(Unary::InPlace(left), affine, relu, &Threads),
            Some(addend) => {
                let right = values::<T>(addend)?;
                let terms = Binary::OverLeft { left, right };
                channels_last::normalize_add(terms, affine, relu, &Threads);
            }
        }
        return Ok(input);
    }
    let mut result = empty_like(&input)?;
    let output = values_mut::<T>(&mut result)?;
    let left = values::<T>(&input)?;
    match &addend {
        None => {
            let terms = Unary::Into {
                input: left,
                output,
            };
            channels_last::normalize(terms, affine, relu, &Threads);
        }
        Some(addend) => {
            let right = values::<T>(addend)?;
            let terms = Binary::Into {
                left,
                right,
                output,
            };
            channels_last::normalize_add(terms, affine, relu, &Threads);
        }
    }
    Ok(result)
}

pub(super) fn normalize_backward(
    tape: NormalizationTape<TorchTensor>,
    with: &Normalization<TorchTensor>,
    output_grad: Tensor,
) -> Result<NormalizationGrads<TorchTensor>> {
    let kind = tape.input.as_tensor();
    by_kind!(kind, pull(tape, with, output_grad))
}

fn pull<T: Stored>(
    tape: NormalizationTape<TorchTensor>,
    with: &Normalization<TorchTensor>,
    output_grad: Tensor,
) -> Result<NormalizationGrads<TorchTensor>> {
    let NormalizationTape {
        input,
        addend,
        added,
        result,
    } = tape;
    let input = ordered(input.into_tensor())?;
    let mut grad = ordered(output_grad)?;
    let (mean, variance) = (result.mean.as_tensor(), result.variance.as_tensor());
    let affine = affine(values(mean)?, values(variance)?, with)?;
    let addend = addend
        .map(|addend| ordered(addend.into_tensor()))
        .transpose()?;
    let (sums, relu) = match &addend {
        Some(addend) => {
            // The ReLU's share is taken out in place: what is left is the addend's gradient too.
            grad = owned(grad)?;
            let cut = Cut::Addend(values::<T>(addend)?);
            let grads = values_mut::<T>(&mut grad)?;
            let input = values::<T>(&input)?;
            let sums = channels_last::mask_gradient_sums(input, cut, grads, &affine, &Threads);
            (sums, false)
        }
        None => {
            let (input, grads) = (values::<T>(&input)?, values::<T>(&grad)?);
            let sums = channels_last::gradient_sums(input, grads, &affine, with.relu, &Threads);
            (sums, with.relu)
        }
    };
    drop(addend);
    let pixels = input.numel() / channels(&input).max(1);
    let line = sums.line(&affine, pixels);
    let addend_grad = added.then(|| TorchTensor::from(grad.shallow_clone()));
    let (mut grad, mut input) = (grad, input);
    let input_grad = if is_unique(&grad) {
        let (left, right) = (values_mut::<T>(&mut grad)?, values::<T>(&input)?);
        let terms = Binary::OverLeft { left, right };
        channels_last::pull(terms, &affine, &line, relu, &Threads);
        grad
    } else if is_unique(&input) {
        let (left, right) = (values::<T>(&grad)?, values_mut::<T>(&mut input)?);
        let terms = Binary::OverRight { left, right };
        channels_last::pull(terms, &affine, &line, relu, &Threads);
        input
    } else {
        let mut pulled = empty_like(&input)?;
        let terms = Binary::Into {
            left: values::<T>(&grad)?,
            right: values::<T>(&input)?,
            output: values_mut::<T>(&mut pulled)?,
        };
        channels_last::pull(terms, &affine, &line, relu, &Threads);
        pulled
    };
    Ok(NormalizationGrads {
        input: input_grad.into(),
        scale: vector(&sums.scale_grad(&affine))?,
        shift: vector(&sums.shift_grad())?,
        addend: addend_grad,
    })
}

fn affine(mean: &[f32], variance: &[f32], with: &Normalization<TorchTensor>) -> Result<Affine> {
    let (scale, shift) = (
        values(with.scale.as_tensor())?,
        values(with.shift.as_tensor())?,
    );
    Ok(Affine::new(mean, variance, scale, shift, with.epsilon))
}

fn vector(values: &[f32]) -> Result<TorchTensor> {
    Ok(Tensor::f_from_slice(values).or_failure()?.into())
}

fn channels(tensor: &Tensor) -> usize {
    images(tensor).channels
}

/// The sides of a tensor of rank 4.
fn images(tensor: &Tensor) -> Images {
    let side = |at: usize| {
        let side = tensor.size().get(at).copied().unwrap_or(1);
        usize::try_from(side).unwrap_or(0)
    };
    Images {
        samples: side(0),
        channels: side(1),
        height: side(2),
        width: side(3),
    }
}

pub(super) fn relu(input: Tensor) -> Result<Tensor> {
    let input = ordered(input)?;
    by_kind!(input, change_as(input, channels_last::relu))
}

pub(super) fn relu6(input: Tensor) -> Result<Tensor> {
    let input = ordered(input)?;
    by_kind!(input, change_as(input, channels_last::relu6))
}

/// A loop over the values, in place if the input has no other handle.
fn change_as<T: Stored>(
    mut input: Tensor,
    change: impl FnOnce(Unary<'_, T>, &dyn Parallel),
) -> Result<Tensor> {
    if is_unique(&input) {
        change(Unary::InPlace(values_mut::<T>(&mut input)?), &Threads);
        return Ok(input);
    }
    let mut result = empty_like(&input)?;
    let output = values_mut::<T>(&mut result)?;
    let input = values::<T>(&input)?;
    change(Unary::Into { input, output }, &Threads);
    Ok(result)
}

pub(super) fn relu_backward(output: Tensor, output_grad: Tensor) -> Result<Tensor> {
    let (output, grad) = (ordered(output)?, ordered(output_grad)?);
    by_kind!(
        output,
        cut_grad_as(output, grad, channels_last::relu_backward)
    )
}

pub(super) fn relu6_backward(output: Tensor, output_grad: Tensor) -> Result<Tensor> {
    let (output, grad) = (ordered(output)?, ordered(output_grad)?);
    by_kind!(
        output,
        cut_grad_as(output, grad, channels_last::relu6_backward)
    )
}

/// A loop over output and gradient, which takes the gradient's place if that has no other handle.
fn cut_grad_as<T: Stored>(
    output: Tensor,
    mut grad: Tensor,
    cut: impl FnOnce(Binary<'_, T>, &dyn Parallel),
) -> Result<Tensor> {
    let left = values::<T>(&output)?;
    if is_unique(&grad) {
        let right = values_mut::<T>(&mut grad)?;
        cut(Binary::OverRight { left, right }, &Threads);
        return Ok(grad);
    }
    let mut result = empty_like(&grad)?;
    let terms = Binary::Into {
        left,
        right: values::<T>(&grad)?,
        output: values_mut::<T>(&mut result)?,
    };
    cut(terms, &Threads);
    Ok(result)
}

/// `a + b`, written over the one of the two that has no other handle.
pub(super) fn sum(a: Tensor, b: Tensor, relu: bool) -> Result<Tensor> {
    let (a, b) = (ordered(a)?, ordered(b)?);
    by_kind!(a, sum_as(a, b, relu))
}

fn sum_as<T: Stored>(mut a: Tensor, mut b: Tensor, relu: bool) -> Result<Tensor> {
    if is_unique(&a) {
        let (left, right) = (values_mut::<T>(&mut a)?, values::<T>(&b)?);
        channels_last::sum(Binary::OverLeft { left, right }, relu, &Threads);
        return Ok(a);
    }
    if is_unique(&b) {
        let (left, right) = (values::<T>(&a)?, values_mut::<T>(&mut b)?);
        channels_last::sum(Binary::OverRight { left, right }, relu, &Threads);
        return Ok(b);
    }
    let mut result = empty_like(&a)?;
    let terms = Binary::Into {
        left: values::<T>(&a)?,
        right: values::<T>(&b)?,
        output: values_mut::<T>(&mut result)?,
    };
    channels_last::sum(terms, relu, &Threads);
    Ok(result)
}

/// `keep·a + gain·b`, over `a` if it has no other handle.
pub(super) fn blend(a: Tensor, keep: f64, b: Tensor, gain: f64) -> Result<Tensor> {
    let (a, b) = (ordered(a)?, ordered(b)?);
    let factors = (keep as f32, gain as f32);
    by_kind!(a, blend_as(a, b, factors))
}

fn blend_as<T: Stored>(mut a: Tensor, b: Tensor, (keep, gain): (f32, f32)) -> Result<Tensor> {
    let right = values::<T>(&b)?;
    if is_unique(&a) {
        let left = values_mut::<T>(&mut a)?;
        channels_last::blend(Binary::OverLeft { left, right }, keep, gain, &Threads);
        return Ok(a);
    }
    let mut result = empty_like(&a)?;
    let terms = Binary::Into {
        left: values::<T>(&a)?,
        right,
        output: values_mut::<T>(&mut result)?,
    };
    channels_last::blend(terms, keep, gain, &Threads);
    Ok(result)
}
