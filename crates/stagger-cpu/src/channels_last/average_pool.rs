//! The mean over all pixels of an image.

use pulp::{Simd, WithSimd};

use super::element::Element;
use super::parallel::{Parallel, part_len, spread};
use super::{Images, arch};

/// `[N, H, W, C]` to `[N, C]`; what `output` held before is not read.
///
/// # Panics
/// When lengths do not match.
pub fn average_pool<T: Element>(
    input: &[T],
    sides: Images,
    output: &mut [T],
    parallel: &dyn Parallel,
) {
    let Images {
        samples, channels, ..
    } = sides;
    assert_eq!(input.len(), sides.len(), "input");
    assert_eq!(output.len(), samples * channels, "output");
    if input.is_empty() {
        return;
    }
    let pixels = sides.height * sides.width;
    let part = part_len(output.len(), channels, parallel);
    let arch = arch();
    let jobs = input.chunks(part * pixels).zip(output.chunks_mut(part));
    spread(jobs, parallel, |(input, output)| {
        arch.dispatch(Means {
            input,
            output,
            channels,
            pixels,
        });
    });
}

/// The gradient of [`average_pool`]'s input, whose sides are `sides`; what `input_grads` held before is not read.
///
/// # Panics
/// When lengths do not match.
pub fn average_pool_backward<T: Element>(
    output_grads: &[T],
    sides: Images,
    input_grads: &mut [T],
    parallel: &dyn Parallel,
) {
    let Images {
        samples, channels, ..
    } = sides;
    assert_eq!(output_grads.len(), samples * channels, "output gradient");
    assert_eq!(input_grads.len(), sides.len(), "input gradient");
    if input_grads.is_empty() {
        return;
    }
    let pixels = sides.height * sides.width;
    let part = part_len(output_grads.len(), channels, parallel);
    let arch = arch();
    let jobs = output_grads
        .chunks(part)
        .zip(input_grads.chunks_mut(part * pixels));
    spread(jobs, parallel, |(outputs, inputs)| {
        arch.dispatch(Shares {
            outputs,
            inputs,
            channels,
            pixels,
        });
    });
}

struct Means<'a, T> {
    input: &'a [T],
    output: &'a mut [T],
    channels: usize,
    pixels: usize,
}

impl<T: Element> WithSimd for Means<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let mut sums = vec![0.0_f32; self.channels];
        let factor = (1.0 / self.pixels as f64) as f32;
        let images = self.input.chunks_exact(self.channels * self.pixels);
        for (image, output) in images.zip(self.output.chunks_exact_mut(self.channels)) {
            sums.fill(0.0);
            for pixel in image.chunks_exact(self.channels) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += value.to_f32();
                }
            }
            for (output, sum) in output.iter_mut().zip(&sums) {
                *output = T::from_f32(sum * factor);
            }
        }
    }
}

struct Shares<'a, T> {
    outputs: &'a [T],
    inputs: &'a mut [T],
    channels: usize,
    pixels: usize,
}

impl<T: Element> WithSimd for Shares<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let factor = (1.0 / self.pixels as f64) as f32;
        let images = self.inputs.chunks_exact_mut(self.channels * self.pixels);
        for (outputs, image) in self.outputs.chunks_exact(self.channels).zip(images) {
            let (first, rest) = image.split_at_mut(self.channels);
            for (input, output) in first.iter_mut().zip(outputs) {
                *input = T::from_f32(output.to_f32() * factor);
            }
            for pixel in rest.chunks_exact_mut(self.channels) {
                pixel.copy_from_slice(first);
            }
        }
    }
}
