//! Loops whose results have other sides than their operands.

use tch::{Kind, Tensor};

use stagger_cpu::channels_last::{self, Bf16, Run};
use stagger_engine::layered::Subsample;

use super::{Result, Threads, by_kind, images};
use crate::order::ordered;
use crate::shim::{self, Stored, values, values_mut};
use crate::tensor::{integer, sides};

pub(crate) fn subsample(input: Tensor, geometry: Subsample) -> Result<Tensor> {
    let input = ordered(input)?;
    by_kind!(input, subsample_as(&input, geometry))
}

fn subsample_as<T: Stored>(input: &Tensor, geometry: Subsample) -> Result<Tensor> {
    let images = images(input);
    let shape = [
        images.samples,
        images.channels + 2 * geometry.padding,
        images.height.div_ceil(geometry.stride),
        images.width.div_ceil(geometry.stride),
    ];
    let mut result = shim::empty(&sides(&shape), input.kind(), input.device(), true)?;
    let output = values_mut::<T>(&mut result)?;
    channels_last::subsample(
        values::<T>(input)?,
        images,
        loops(geometry),
        output,
        &Threads,
    );
    Ok(result)
}

pub(crate) fn subsample_backward(
    output_grad: Tensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> Result<Tensor> {
    let grad = ordered(output_grad)?;
    by_kind!(grad, subsample_backward_as(&grad, shape, geometry))
}

fn subsample_backward_as<T: Stored>(
    grad: &Tensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> Result<Tensor> {
    let mut result = shim::empty(&sides(&shape), grad.kind(), grad.device(), true)?;
    let images = images(&result);
    let output = values_mut::<T>(&mut result)?;
    let grads = values::<T>(grad)?;
    channels_last::subsample_backward(grads, images, loops(geometry), output, &Threads);
    Ok(result)
}

fn loops(geometry: Subsample) -> channels_last::Subsample {
    channels_last::Subsample {
        stride: geometry.stride,
        padding: geometry.padding,
    }
}

pub(crate) fn concat(a: Tensor, b: Tensor) -> Result<Tensor> {
    let (a, b) = (ordered(a)?, ordered(b)?);
    by_kind!(a, concat_as(&a, &b))
}

fn concat_as<T: Stored>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (before, behind) = (images(a), images(b));
    let pixel = before.channels + behind.channels;
    let shape = [before.samples, pixel, before.height, before.width];
    let mut result = shim::empty(&sides(&shape), a.kind(), a.device(), true)?;
    let output = values_mut::<T>(&mut result)?;
    for (part, first, len) in [
        (a, 0, before.channels),
        (b, before.channels, behind.channels),
    ] {
        let run = Run { pixel, first, len };
        channels_last::put_run(values::<T>(part)?, run, output, &Threads);
    }
    Ok(result)
}

/// `len` channels from `first` on.
pub(crate) fn channel_run(tensor: Tensor, first: usize, len: usize) -> Result<Tensor> {
    let tensor = ordered(tensor)?;
    by_kind!(tensor, channel_run_as(&tensor, first, len))
}

fn channel_run_as<T: Stored>(tensor: &Tensor, first: usize, len: usize) -> Result<Tensor> {
    let of = images(tensor);
    let pixel = of.channels;
    let shape = [of.samples, len, of.height, of.width];
    let mut result = shim::empty(&sides(&shape), tensor.kind(), tensor.device(), true)?;
    let output = values_mut::<T>(&mut result)?;
    let run = Run { pixel, first, len };
    channels_last::take_run(values::<T>(tensor)?, run, output, &Threads);
    Ok(result)
}

pub(crate) fn global_average(input: Tensor) -> Result<Tensor> {
    let input = ordered(input)?;
    by_kind!(input, global_average_as(&input))
}

fn global_average_as<T: Stored>(input: &Tensor) -> Result<Tensor> {
    let images = images(input);
    let shape = [integer(images.samples), integer(images.channels), 1, 1];
    let mut result = shim::empty(&shape, input.kind(), input.device(), true)?;
    let output = values_mut::<T>(&mut result)?;
    channels_last::average_pool(values::<T>(input)?, images, output, &Threads);
    Ok(result)
}

pub(crate) fn global_average_backward(output_grad: Tensor, shape: [usize; 4]) -> Result<Tensor> {
    let grad = ordered(output_grad)?;
    by_kind!(grad, global_average_backward_as(&grad, shape))
}

fn global_average_backward_as<T: Stored>(grad: &Tensor, shape: [usize; 4]) -> Result<Tensor> {
    let mut result = shim::empty(&sides(&shape), grad.kind(), grad.device(), true)?;
    let images = images(&result);
    let output = values_mut::<T>(&mut result)?;
    channels_last::average_pool_backward(values::<T>(grad)?, images, output, &Threads);
    Ok(result)
}
