//! The shortcut that keeps every so manieth pixel and adds zero channels.

use burn_flex::FlexTensor;

use crate::channels_last::{self as loops, Serial};
use crate::layered::Subsample;

use super::buffers::take;
use super::memory::{channels_last, from_channels_last, images, sides, values};

/// `[N, C, H, W]` to `[N, C + 2·padding, H', W']`.
pub(super) fn subsample(input: FlexTensor, geometry: Subsample) -> FlexTensor {
    let input = channels_last(input);
    let (from, with) = (images(sides(&input)), places(geometry));
    let to = with.output(from);
    let mut output = take(to.len());
    loops::subsample(values(&input), from, with, &mut output, &Serial);
    from_channels_last(output, [to.samples, to.channels, to.height, to.width])
}

/// The gradient of [`subsample`]'s input of these sides.
pub(super) fn subsample_backward(
    output_grad: FlexTensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> FlexTensor {
    let output_grad = channels_last(output_grad);
    let to = images(shape);
    let mut input_grad = take(to.len());
    let grads = values(&output_grad);
    loops::subsample_backward(grads, to, places(geometry), &mut input_grad, &Serial);
    from_channels_last(input_grad, shape)
}

fn places(geometry: Subsample) -> loops::Subsample {
    loops::Subsample {
        stride: geometry.stride,
        padding: geometry.padding,
    }
}
