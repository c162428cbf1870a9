//! Maximum over square windows.

use stagger_engine::layered::Window;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::spread;
use crate::threads::{Threads, share};

/// For each value of the output, in its order in memory, the pixel of its image that it came from.
#[derive(Clone, Debug)]
pub struct Maxima(Vec<u32>);

/// `[N, C, H, W]` to `[N, C, H', W']`. The border is never the maximum; among equal values the first in row-major order wins,
/// and NaN before all.
pub(crate) fn max_pool(input: CpuTensor, window: Window) -> (CpuTensor, Maxima) {
    let input = input.into_channels_last();
    let [samples, channels, height, width] = input.sides();
    let (out_height, out_width) = (output_side(height, window), output_side(width, window));
    let out_image = out_height * out_width * channels;
    let mut output = take(samples * out_image);
    let mut maxima = vec![0; output.len()];
    let image = height * width * channels;
    if image > 0 && out_image > 0 {
        let each = share(samples, output.len() * window.kernel * window.kernel);
        let outputs = output.chunks_mut(each * out_image);
        let jobs = input.values().chunks(each * image).zip(outputs);
        let jobs = jobs.zip(maxima.chunks_mut(each * out_image));
        let one = |input: &[f32], output: &mut [f32], maxima: &mut [u32]| {
            let pixels = output.chunks_exact_mut(channels);
            for (pixel, (output, maxima)) in
                pixels.zip(maxima.chunks_exact_mut(channels)).enumerate()
            {
                let rows = covered(pixel / out_width, height, window);
                let columns = covered(pixel % out_width, width, window);
                output.fill(f32::NEG_INFINITY);
                maxima.fill((rows.start * width + columns.start) as u32);
                for row in rows {
                    for at in row * width + columns.start..row * width + columns.end {
                        let values = &input[at * channels..][..channels];
                        for ((most, place), &value) in
                            output.iter_mut().zip(maxima.iter_mut()).zip(values)
                        {
                            if value > *most || value.is_nan() && !most.is_nan() {
                                *most = value;
                                *place = at as u32;
                            }
                        }
                    }
                }
            }
        };
        spread(jobs, &Threads, |((inputs, outputs), maxima)| {
            let images = inputs.chunks_exact(image);
            let outputs = outputs.chunks_exact_mut(out_image);
            let maxima = maxima.chunks_exact_mut(out_image);
            for ((input, output), maxima) in images.zip(outputs).zip(maxima) {
                one(input, output, maxima);
            }
        });
    }
    let output = CpuTensor::channels_last(output, [samples, channels, out_height, out_width]);
    (output, Maxima(maxima))
}

/// The gradient of [`max_pool`]'s input of these sides.
pub(crate) fn max_pool_backward(
    sides: [usize; 4],
    maxima: &Maxima,
    output_grad: CpuTensor,
) -> CpuTensor {
    let output_grad = output_grad.into_channels_last();
    let [samples, channels, height, width] = sides;
    let image = height * width * channels;
    let mut input_grad = take(samples * image);
    input_grad.fill(0.0);
    let out_image = maxima.0.len() / samples.max(1);
    if image > 0 && out_image > 0 {
        let each = share(samples, maxima.0.len());
        let images = input_grad.chunks_mut(each * image);
        let jobs = images.zip(output_grad.values().chunks(each * out_image));
        let jobs = jobs.zip(maxima.0.chunks(each * out_image));
        spread(jobs, &Threads, |((images, grads), maxima)| {
            let images = images.chunks_exact_mut(image);
            let grads = grads.chunks_exact(out_image);
            for ((image, grads), maxima) in images.zip(grads).zip(maxima.chunks_exact(out_image)) {
                let pixels = grads.chunks_exact(channels);
                for (grads, places) in pixels.zip(maxima.chunks_exact(channels)) {
                    for (channel, (grad, &place)) in grads.iter().zip(places).enumerate() {
                        image[place as usize * channels + channel] += grad;
                    }
                }
            }
        });
    }
    drop(output_grad);
    CpuTensor::channels_last(input_grad, sides)
}

pub(crate) fn output_side(side: usize, window: Window) -> usize {
    (side + 2 * window.padding - window.kernel) / window.stride + 1
}

/// The rows or columns of the input that window `index` covers.
pub(crate) fn covered(index: usize, side: usize, window: Window) -> std::ops::Range<usize> {
    let start = index * window.stride;
    let end = (start + window.kernel).saturating_sub(window.padding);
    start.saturating_sub(window.padding)..end.min(side)
}
