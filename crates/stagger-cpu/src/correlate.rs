//! Convolution forward, and the gradient of its input, which is a convolution with the kernel turned round.

use pulp::{Simd, WithSimd};

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::arch;
use crate::microkernel::{Taps, lanes, pixels, vectors};
use crate::padded::{Frame, Framed, Group};

/// `[N, C, H, W]`, channels-last, with `[O, C, k, k]` to `[N, O, H', W']`.
pub(crate) fn forward(
    input: &CpuTensor,
    weight: CpuTensor,
    bias: Option<CpuTensor>,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.to_row_major();
    let [samples, channels, height, width] = input.sides();
    let [outputs, _, kernel, _] = weight.sides();
    let Convolution { stride, padding } = geometry;
    let weights = weight.values();
    let correlation = Correlation {
        input: input.values(),
        bias: bias.as_ref().map(CpuTensor::values),
        samples,
        frame: Frame::around(channels, height, width, padding),
        kernel,
        stride,
        outputs,
        weight_at: |output, row, column, channel| {
            weights[((output * channels + channel) * kernel + row) * kernel + column]
        },
    };
    correlation.run()
}

/// The gradient of [`forward`]'s input of these sides; `output_grad` has to be channels-last. Every tap goes back where it
/// came from. With a stride, zeros between the gradient's pixels stand for the positions that were skipped. The padding has to
/// be smaller than the kernel.
pub(crate) fn input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.to_row_major();
    let [samples, channels, height, width] = input_sides;
    let [outputs, _, kernel, _] = weight.sides();
    let [_, _, grad_height, grad_width] = output_grad.sides();
    let weights = weight.values();
    let correlation = Correlation {
        input: output_grad.values(),
        bias: None,
        samples,
        frame: Frame {
            channels: outputs,
            height: grad_height,
            width: grad_width,
            offset: kernel - 1 - geometry.padding,
            spread: geometry.stride,
            full_height: height + kernel - 1,
            full_width: width + kernel - 1,
        },
        kernel,
        stride: 1,
        outputs: channels,
        weight_at: |channel, row, column, output| {
            let (row, column) = (kernel - 1 - row, kernel - 1 - column);
            weights[((output * channels + channel) * kernel + row) * kernel + column]
        },
    };
    correlation.run()
}

/// As [`input_grad`], for any padding: each output gradient is added to the inputs that its taps read.
pub(crate) fn scattered_input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.to_row_major();
    let [_, channels, height, width] = input_sides;
    let [outputs, _, kernel, _] = weight.sides();
    let [_, _, grad_height, grad_width] = output_grad.sides();
    let weights = weight.values();
    let mut input_grad = vec![0.0; input_sides.iter().product()];
    // The input's row or column that a tap of an output reads; `None` in the border of zeros.
    let place = |output: usize, tap: usize, side: usize| {
        let at = (output * geometry.stride + tap).checked_sub(geometry.padding);
        at.filter(|&at| at < side)
    };
    for (pixel, grads) in output_grad.values().chunks_exact(outputs).enumerate() {
        let (line, column) = (pixel / grad_width, pixel % grad_width);
        let (sample, row) = (line / grad_height, line % grad_height);
        for tap in 0..kernel * kernel {
            let at_row = place(row, tap / kernel, height);
            let (Some(y), Some(x)) = (at_row, place(column, tap % kernel, width)) else {
                continue;
            };
            let start = ((sample * height + y) * width + x) * channels;
            let inputs = &mut input_grad[start..start + channels];
            for (output, grad) in grads.iter().enumerate() {
                for (channel, input) in inputs.iter_mut().enumerate() {
                    let at = (output * channels + channel) * kernel * kernel + tap;
                    *input += grad * weights[at];
                }
            }
        }
    }
    CpuTensor::channels_last(input_grad, input_sides)
}

/// A convolution over channels-last memory.
struct Correlation<'a, W> {
    input: &'a [f32],
    bias: Option<&'a [f32]>,
    samples: usize,
    frame: Frame,
    kernel: usize,
    stride: usize,
    outputs: usize,
    /// Weight by (output channel, kernel row, kernel column, input channel).
    weight_at: W,
}

impl<W: Fn(usize, usize, usize, usize) -> f32> Correlation<'_, W> {
    fn run(self) -> CpuTensor {
        let (height, width) = self.output_sides();
        let (samples, outputs) = (self.samples, self.outputs);
        let values = arch().dispatch(self);
        CpuTensor::channels_last(values, [samples, outputs, height, width])
    }

    fn output_sides(&self) -> (usize, usize) {
        let side = |full: usize| (full - self.kernel) / self.stride + 1;
        (side(self.frame.full_height), side(self.frame.full_width))
    }

    /// The bias, then the weights, tap by tap, of output channels `first..first + width`; beyond the last channel zeros.
    fn pack(&self, first: usize, width: usize, packed: &mut Vec<f32>) {
        let bias = self.bias.unwrap_or_default();
        let bias = bias
            .iter()
            .skip(first)
            .copied()
            .chain(std::iter::repeat(0.0));
        packed.extend(bias.take(width));

        for row in 0..self.kernel {
            for column in 0..self.kernel {
                for channel in 0..self.frame.channels {
                    packed.extend((first..first + width).map(|output| {
                        if output < self.outputs {
                            (self.weight_at)(output, row, column, channel)
                        } else {
                            0.0
                        }
                    }));
                }
            }
        }
    }
}

impl<W: Fn(usize, usize, usize, usize) -> f32> WithSimd for Correlation<'_, W> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let sides = self.output_sides();
        let image_len = self.frame.height * self.frame.width * self.frame.channels;
        let output_len = sides.0 * sides.1 * self.outputs;
        let mut blocks = Vec::new();
        let mut first = 0;
        while first < self.outputs {
            let left = (self.outputs - first).div_ceil(lanes::<S>());
            let taken = left.min(vectors::<S>());
            let mut packed = Vec::new();
            self.pack(first, taken * lanes::<S>(), &mut packed);
            blocks.push((first, taken, packed));
            first += taken * lanes::<S>();
        }
        let taps = Taps {
            run: self.kernel * self.frame.channels,
            pitch: self.frame.pitch(),
        };
        let group = Group::new(self.frame, self.stride, sides, self.samples);
        let mut framed = Framed::new(self.frame, group.samples);
        let mut output = take(self.samples * output_len);
        let images = self.input.chunks((group.samples * image_len).max(1));
        for (input, output) in images.zip(output.chunks_mut((group.samples * output_len).max(1))) {
            let input = framed.set(input);
            let starts = &group.starts[..output.len() / self.outputs];
            for (first, taken, packed) in &blocks {
                let (weights, _) = S::as_simd_f32s(packed);
                let values = &mut *output;
                let output = Output {
                    values,
                    channels: self.outputs,
                    first: *first,
                };
                match taken {
                    1 => output_pixels::<S, 1>(simd, input, starts, taps, weights, output),
                    _ => output_pixels::<S, 2>(simd, input, starts, taps, weights, output),
                }
            }
        }
        output
    }
}

/// Output pixels, to be filled from channel `first` on.
struct Output<'a> {
    values: &'a mut [f32],
    channels: usize,
    first: usize,
}

impl Output<'_> {
    #[inline(always)]
    fn store<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        pixel: usize,
        sums: [[S::f32s; V]; P],
    ) {
        let lanes = lanes::<S>();
        for (index, sums) in sums.iter().enumerate() {
            let start = (pixel + index) * self.channels;
            let channels = &mut self.values[start..start + self.channels][self.first..];
            for (vector, &sum) in sums.iter().enumerate() {
                let end = channels.len().min((vector + 1) * lanes);
                let channels = &mut channels[vector * lanes..end];
                match S::as_mut_simd_f32s(channels) {
                    ([whole, ..], _) => *whole = sum,
                    ([], part) => simd.partial_store_f32s(part, sum),
                }
            }
        }
    }
}

#[inline(always)]
fn output_pixels<S: Simd, const V: usize>(
    simd: S,
    input: &[f32],
    starts: &[usize],
    taps: Taps,
    weights: &[S::f32s],
    mut output: Output<'_>,
) {
    let (blocks, rest) = starts.as_chunks::<8>();
    for (block, starts) in blocks.iter().enumerate() {
        let sums = pixels::<S, 8, V>(simd, input, starts, taps, weights);
        output.store(simd, block * 8, sums);
    }
    let done = blocks.len() * 8;
    for (pixel, &start) in rest.iter().enumerate() {
        let sums = pixels::<S, 1, V>(simd, input, &[start], taps, weights);
        output.store(simd, done + pixel, sums);
    }
}
