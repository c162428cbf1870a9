//! The gradient of a convolution's input: every tap goes back where it came from.

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::buffers::take;
use crate::correlate::{Correlation, Lattice};
use crate::padded::Frame;
use crate::winograd::{self, Convolve};

/// The gradient of an input of these sides; `output_grad` has to be channels-last.
///
/// It is a convolution of the output's gradient with the kernel turned round. With a stride, a pixel of the input has met only those
/// taps that lie a multiple of the stride apart: the pixels of every `stride`-th row and column have the same taps, and are one
/// convolution.
pub(crate) fn input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let [samples, channels, height, width] = input_sides;
    let weight_sides = weight.sides();
    let [outputs, _, kernel, _] = weight_sides;
    if geometry.padding >= kernel {
        return scattered_input_grad(input_sides, weight, output_grad, geometry);
    }
    let [_, _, grad_height, grad_width] = output_grad.sides();
    let weights = weight.values();
    if let Some(tile) = winograd::tile(geometry, weight_sides, [height, width]) {
        let turned = |channel: usize, row: usize, column: usize, output: usize| {
            weights[(output * channels + channel) * 9 + 8 - row * 3 - column]
        };
        let convolve = Convolve {
            input: output_grad.values(),
            bias: None,
            samples,
            frame: Frame::around(outputs, grad_height, grad_width, 2 - geometry.padding),
            outputs: channels,
            weight_at: turned,
        };
        return CpuTensor::channels_last(winograd::convolve(&convolve, tile), input_sides);
    }
    let mut values = take(input_sides.iter().product());
    if kernel < geometry.stride {
        // There are pixels that no tap has read.
        values.fill(0.0);
    }
    for part in parts([height, width], kernel, output_grad.sides(), geometry) {
        let correlation = Correlation {
            input: output_grad.values(),
            bias: None,
            samples,
            frame: part.frame,
            kernel: part.kernel(),
            origin: part.origin(),
            stride: 1,
            outputs: channels,
            lattice: part.lattice,
            weight_at: |channel, row, column, output| {
                let (row, column) = part.tap(row, column);
                weights[((output * channels + channel) * kernel + row) * kernel + column]
            },
        };
        correlation.write(&mut values);
    }
    CpuTensor::channels_last(values, input_sides)
}

/// One of the convolutions of the output's gradient that make up the gradient of an input: that for the pixels of a lattice.
pub(crate) struct Part {
    /// How the output's gradient lies among zeros.
    pub frame: Frame,
    /// The pixels of the input.
    pub lattice: Lattice,
    rows: Phase,
    columns: Phase,
    /// That of the convolution whose input it is.
    stride: usize,
}

impl Part {
    /// Rows and columns of its kernel.
    pub(crate) fn kernel(&self) -> (usize, usize) {
        (self.rows.taps, self.columns.taps)
    }

    /// Row and column of the frame at which the taps of its first pixel start.
    pub(crate) fn origin(&self) -> (usize, usize) {
        (self.rows.origin, self.columns.origin)
    }

    /// Row and column in the whole kernel of one of its taps.
    pub(crate) fn tap(&self, row: usize, column: usize) -> (usize, usize) {
        let Self {
            rows,
            columns,
            stride,
            ..
        } = self;
        (rows.tap(row, *stride), columns.tap(column, *stride))
    }
}

/// All parts for an input of these rows and columns and an output's gradient of sides `[N, O, H', W']`; the padding is smaller than the
/// kernel.
pub(crate) fn parts(
    [height, width]: [usize; 2],
    kernel: usize,
    [_, outputs, grad_height, grad_width]: [usize; 4],
    geometry: Convolution,
) -> Vec<Part> {
    let stride = geometry.stride;
    let mut parts = Vec::new();
    for row in 0..stride.min(height) {
        for column in 0..stride.min(width) {
            let rows = Phase::of(row, kernel, geometry, height);
            let columns = Phase::of(column, kernel, geometry, width);
            if rows.taps == 0 || columns.taps == 0 {
                continue;
            }
            parts.push(Part {
                frame: Frame {
                    channels: outputs,
                    height: grad_height,
                    width: grad_width,
                    top: rows.before,
                    left: columns.before,
                    full_height: rows.full(grad_height),
                    full_width: columns.full(grad_width),
                },
                lattice: Lattice {
                    image: (height, width),
                    first: (row, column),
                    step: stride,
                    sides: (rows.pixels, columns.pixels),
                },
                rows,
                columns,
                stride,
            });
        }
    }
    parts
}

/// The pixels of one side that have met the same taps: `first`, and every stride-th after it. Pixel `y` has met tap `r` of output `o`
/// where `y + padding = o · stride + r`.
#[derive(Clone, Copy)]
struct Phase {
    /// The first of these taps.
    tap: usize,
    /// How many they are.
    taps: usize,
    /// How many pixels.
    pixels: usize,
    /// Zeros before the outputs.
    before: usize,
    /// The first of outputs and zeros that the first pixel has met.
    origin: usize,
}

impl Phase {
    fn of(first: usize, kernel: usize, geometry: Convolution, side: usize) -> Self {
        let Convolution {
            stride, padding, ..
        } = geometry;
        let tap = (first + padding) % stride;
        let taps = kernel.saturating_sub(tap).div_ceil(stride);
        // It has met the first tap at this output, the last at `taps − 1` outputs before.
        let output = (first + padding) / stride;
        let before = taps.saturating_sub(1).saturating_sub(output);
        Self {
            tap,
            taps,
            pixels: (side - first).div_ceil(stride),
            before,
            origin: (output + before + 1).saturating_sub(taps),
        }
    }

    /// Outputs with the zeros before and after them.
    fn full(&self, outputs: usize) -> usize {
        let read = self.origin + self.pixels + self.taps - 1;
        read.max(self.before + outputs)
    }

    /// The tap at an index of the turned kernel.
    fn tap(&self, index: usize, stride: usize) -> usize {
        self.tap + (self.taps - 1 - index) * stride
    }
}

/// As [`input_grad`], for any padding: each output gradient is added to the inputs that its taps read.
fn scattered_input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
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
