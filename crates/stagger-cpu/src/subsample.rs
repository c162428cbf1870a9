//! The shortcut that keeps every `stride`-th pixel and adds zero channels.

use stagger_engine::layered::Subsample;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last as loops;
use crate::tensor::images;
use crate::threads::Threads;

/// `[N, C, H, W]` to `[N, C + 2·padding, H', W']`.
pub(crate) fn subsample(input: CpuTensor, geometry: Subsample) -> CpuTensor {
    let input = input.into_channels_last();
    let (from, with) = (images(input.sides()), places(geometry));
    let to = with.output(from);
    let mut output = take(to.len());
    loops::subsample(input.values(), from, with, &mut output, &Threads);
    CpuTensor::channels_last(output, [to.samples, to.channels, to.height, to.width])
}

/// The gradient of [`subsample`]'s input of these sides.
pub(crate) fn subsample_backward(
    output_grad: CpuTensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> CpuTensor {
    let output_grad = output_grad.into_channels_last();
    let to = images(shape);
    let mut input_grad = take(to.len());
    let grads = output_grad.values();
    loops::subsample_backward(grads, to, places(geometry), &mut input_grad, &Threads);
    drop(output_grad);
    CpuTensor::channels_last(input_grad, shape)
}

fn places(geometry: Subsample) -> loops::Subsample {
    loops::Subsample {
        stride: geometry.stride,
        padding: geometry.padding,
    }
}
