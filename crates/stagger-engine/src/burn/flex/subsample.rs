//! The shortcut that keeps every so manieth pixel and adds zero channels.

use burn_flex::FlexTensor;

use crate::layered::Subsample;

use super::memory::{channels_last, from_channels_last, sides, values};

/// `[N, C, H, W]` to `[N, C + 2·padding, H', W']`.
pub(super) fn subsample(input: FlexTensor, geometry: Subsample) -> FlexTensor {
    let input = channels_last(input);
    let [samples, channels, height, width] = sides(&input);
    let Subsample { stride, padding } = geometry;
    let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
    let out_channels = channels + 2 * padding;
    let zeros = vec![0.0; padding];
    let mut output = Vec::with_capacity(samples * out_height * out_width * out_channels);
    for image in values(&input).chunks_exact(height * width * channels) {
        for row in image.chunks_exact(width * channels).step_by(stride) {
            for pixel in row.chunks_exact(channels).step_by(stride) {
                output.extend_from_slice(&zeros);
                output.extend_from_slice(pixel);
                output.extend_from_slice(&zeros);
            }
        }
    }
    from_channels_last(output, [samples, out_channels, out_height, out_width])
}

/// The gradient of [`subsample`]'s input of these sides.
pub(super) fn subsample_backward(
    output_grad: FlexTensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> FlexTensor {
    let output_grad = channels_last(output_grad);
    let [_, channels, height, width] = shape;
    let [_, out_channels, out_height, out_width] = sides(&output_grad);
    let Subsample { stride, padding } = geometry;
    let mut input_grad = vec![0.0; shape.iter().product()];
    let images = input_grad.chunks_exact_mut(height * width * channels);
    let grads = values(&output_grad).chunks_exact(out_height * out_width * out_channels);
    for (image, grads) in images.zip(grads) {
        let rows = image.chunks_exact_mut(width * channels).step_by(stride);
        for (row, grads) in rows.zip(grads.chunks_exact(out_width * out_channels)) {
            let pixels = row.chunks_exact_mut(channels).step_by(stride);
            for (pixel, grads) in pixels.zip(grads.chunks_exact(out_channels)) {
                pixel.copy_from_slice(&grads[padding..padding + channels]);
            }
        }
    }
    from_channels_last(input_grad, shape)
}
