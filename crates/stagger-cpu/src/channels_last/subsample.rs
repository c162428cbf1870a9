//! The shortcut that keeps every `stride`-th pixel and adds zero channels.

use super::Images;
use super::element::Element;
use super::parallel::{Parallel, part_len, spread};

/// Which pixels stay, and how many channels are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// Every `stride`-th row and column stays.
    pub stride: usize,
    /// Channels of zeros on each side.
    pub padding: usize,
}

impl Subsample {
    /// The sides of the output.
    pub fn output(self, input: Images) -> Images {
        Images {
            samples: input.samples,
            height: input.height.div_ceil(self.stride),
            width: input.width.div_ceil(self.stride),
            channels: input.channels + 2 * self.padding,
        }
    }
}

/// `[N, H, W, C]` to `[N, H', W', C + 2·padding]`; what `output` held before is not read.
///
/// # Panics
/// When lengths do not match.
pub fn subsample<T: Element>(
    input: &[T],
    sides: Images,
    with: Subsample,
    output: &mut [T],
    parallel: &dyn Parallel,
) {
    let out = with.output(sides);
    assert_eq!(input.len(), sides.len(), "input");
    assert_eq!(output.len(), out.len(), "output");
    if output.is_empty() {
        return;
    }
    let (line, out_line) = (sides.width * sides.channels, out.width * out.channels);
    let (image, out_image) = (sides.height * line, out.height * out_line);
    let part = part_len(output.len(), out_image, parallel);
    let jobs = input
        .chunks(part / out_image * image)
        .zip(output.chunks_mut(part));
    spread(jobs, parallel, |(input, output)| {
        let images = input
            .chunks_exact(image)
            .zip(output.chunks_exact_mut(out_image));
        for (input, output) in images {
            let lines = input.chunks_exact(line).step_by(with.stride);
            for (input, output) in lines.zip(output.chunks_exact_mut(out_line)) {
                let pixels = input.chunks_exact(sides.channels).step_by(with.stride);
                for (input, output) in pixels.zip(output.chunks_exact_mut(out.channels)) {
                    let (before, rest) = output.split_at_mut(with.padding);
                    let (pixel, after) = rest.split_at_mut(sides.channels);
                    before.fill(T::ZERO);
                    pixel.copy_from_slice(input);
                    after.fill(T::ZERO);
                }
            }
        }
    });
}

/// The gradient of [`subsample`]'s input, whose sides are `sides`; what `input_grads` held before is not read.
///
/// # Panics
/// When lengths do not match.
pub fn subsample_backward<T: Element>(
    output_grads: &[T],
    sides: Images,
    with: Subsample,
    input_grads: &mut [T],
    parallel: &dyn Parallel,
) {
    let out = with.output(sides);
    assert_eq!(output_grads.len(), out.len(), "output gradient");
    assert_eq!(input_grads.len(), sides.len(), "input gradient");
    if input_grads.is_empty() {
        return;
    }
    let (line, out_line) = (sides.width * sides.channels, out.width * out.channels);
    let (image, out_image) = (sides.height * line, out.height * out_line);
    let part = part_len(input_grads.len(), image, parallel);
    let jobs = output_grads
        .chunks(part / image * out_image)
        .zip(input_grads.chunks_mut(part));
    spread(jobs, parallel, |(outputs, inputs)| {
        inputs.fill(T::ZERO);
        let images = outputs
            .chunks_exact(out_image)
            .zip(inputs.chunks_exact_mut(image));
        for (outputs, inputs) in images {
            let lines = inputs.chunks_exact_mut(line).step_by(with.stride);
            for (outputs, inputs) in outputs.chunks_exact(out_line).zip(lines) {
                let pixels = inputs.chunks_exact_mut(sides.channels).step_by(with.stride);
                for (outputs, inputs) in outputs.chunks_exact(out.channels).zip(pixels) {
                    inputs.copy_from_slice(&outputs[with.padding..][..sides.channels]);
                }
            }
        }
    });
}
