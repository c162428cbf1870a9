//! Convolutions with as many groups as channels: each channel has a kernel of its own, and nothing is summed over channels.

// The compiler keeps the sums in registers only if it unrolls these loops early, which it does not do for iterators.
#![allow(clippy::needless_range_loop)]

mod weight_grad;

use pulp::{Simd, WithSimd, bytemuck};

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::{arch, spread};
use crate::correlate::Lattice;
use crate::input_grad::parts;
use crate::microkernel::lanes;
use crate::padded::{Frame, Framed, Group};
use crate::threads::{Threads, share};

pub(crate) use weight_grad::weight_grad;

/// `[N, C, H, W]`, channels-last, with `[C, 1, k, k]` to `[N, C, H', W']`.
pub(crate) fn forward(
    input: &CpuTensor,
    weight: CpuTensor,
    bias: Option<CpuTensor>,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let [samples, channels, height, width] = input.sides();
    let [_, _, kernel, _] = weight.sides();
    let frame = Frame::around(channels, height, width, geometry.padding);
    let side = |full: usize| (full - kernel) / geometry.stride + 1;
    let sides = (side(frame.full_height), side(frame.full_width));
    let weights = weight.values();
    let correlation = Depthwise {
        input: input.values(),
        bias: bias.as_ref().map(CpuTensor::values),
        samples,
        frame,
        kernel: (kernel, kernel),
        origin: (0, 0),
        stride: geometry.stride,
        lattice: Lattice::whole(sides),
        weight_at: |channel, row, column| weights[(channel * kernel + row) * kernel + column],
    };
    let mut values = take(samples * sides.0 * sides.1 * channels);
    correlation.write(&mut values);
    CpuTensor::channels_last(values, [samples, channels, sides.0, sides.1])
}

/// The gradient of an input of these sides; `output_grad` has to be channels-last, and the padding smaller than the kernel.
pub(crate) fn input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let [samples, _, height, width] = input_sides;
    let [_, _, kernel, _] = weight.sides();
    let weights = weight.values();
    let mut values = take(input_sides.iter().product());
    if kernel < geometry.stride {
        // There are pixels that no tap has read.
        values.fill(0.0);
    }
    for part in parts([height, width], kernel, output_grad.sides(), geometry) {
        let correlation = Depthwise {
            input: output_grad.values(),
            bias: None,
            samples,
            frame: part.frame,
            kernel: part.kernel(),
            origin: part.origin(),
            stride: 1,
            lattice: part.lattice,
            weight_at: |channel, row, column| {
                let (row, column) = part.tap(row, column);
                weights[(channel * kernel + row) * kernel + column]
            },
        };
        correlation.write(&mut values);
    }
    CpuTensor::channels_last(values, input_sides)
}

/// Where the taps of an output lie, in values from the first, row by row.
fn offsets(frame: &Frame, (rows, columns): (usize, usize)) -> Vec<usize> {
    let row =
        |row: usize| (0..columns).map(move |column| row * frame.pitch() + column * frame.channels);
    (0..rows).flat_map(row).collect()
}

/// A depthwise convolution over channels-last memory.
struct Depthwise<'a, W> {
    input: &'a [f32],
    bias: Option<&'a [f32]>,
    samples: usize,
    frame: Frame,
    /// Rows and columns of the kernel.
    kernel: (usize, usize),
    /// Row and column of the frame at which the taps of the first output start.
    origin: (usize, usize),
    stride: usize,
    /// The output pixels.
    lattice: Lattice,
    /// Weight by (channel, kernel row, kernel column).
    weight_at: W,
}

impl<W: Fn(usize, usize, usize) -> f32 + Sync> Depthwise<'_, W> {
    /// Writes the pixels of the lattice into `output`, channels-last, and leaves the others. Threads take samples.
    fn write(&self, output: &mut [f32]) {
        let (arch, weights) = (arch(), self.packed());
        let Lattice { image, sides, .. } = self.lattice;
        let channels = self.frame.channels;
        let image_len = self.frame.height * self.frame.width * channels;
        let output_len = image.0 * image.1 * channels;
        let each = share(
            self.samples,
            self.samples * sides.0 * sides.1 * weights.len(),
        );
        let inputs = self.input.chunks((each * image_len).max(1));
        let outputs = output.chunks_mut((each * output_len).max(1));
        spread(inputs.zip(outputs), &Threads, |(input, output)| {
            arch.dispatch(Write {
                correlation: self,
                weights: &weights,
                input,
                output,
            });
        });
    }

    /// The weights tap by tap, each of all channels.
    fn packed(&self) -> Vec<f32> {
        let channels = self.frame.channels;
        let mut packed = Vec::with_capacity(self.kernel.0 * self.kernel.1 * channels);
        for row in 0..self.kernel.0 {
            for column in 0..self.kernel.1 {
                packed.extend((0..channels).map(|channel| (self.weight_at)(channel, row, column)));
            }
        }
        packed
    }
}

/// Some samples.
struct Write<'a, W> {
    correlation: &'a Depthwise<'a, W>,
    weights: &'a [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl<W> WithSimd for Write<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            correlation: all,
            weights,
            input,
            output,
        } = self;
        let Lattice { image, sides, .. } = all.lattice;
        let channels = all.frame.channels;
        let image_len = all.frame.height * all.frame.width * channels;
        let output_len = image.0 * image.1 * channels;
        let samples = output.len() / output_len.max(1);
        let zeros = vec![0.0; channels];
        let pixels = Pixels {
            bias: all.bias.unwrap_or(&zeros),
            weights,
            offsets: &offsets(&all.frame, all.kernel),
            channels,
        };
        let group = Group::new(all.frame, all.origin, all.stride, sides, samples);
        let places = all.lattice.starts(group.samples, channels);
        let mut framed = Framed::new(all.frame, group.samples);
        let images = input.chunks((group.samples * image_len).max(1));
        for (input, output) in images.zip(output.chunks_mut((group.samples * output_len).max(1))) {
            let input = framed.set(input);
            let count = output.len() / output_len * group.pixels;
            let (starts, rest) = group.starts[..count].as_chunks::<8>();
            let (places, places_rest) = places[..count].as_chunks::<8>();
            for (starts, places) in starts.iter().zip(places) {
                pixels.write::<S, 8>(simd, input, starts, output, places);
            }
            for (&start, &place) in rest.iter().zip(places_rest) {
                pixels.write::<S, 1>(simd, input, &[start], output, &[place]);
            }
        }
    }
}

/// What all output pixels have in common.
struct Pixels<'a> {
    /// One value per channel.
    bias: &'a [f32],
    /// Tap by tap, each of all channels.
    weights: &'a [f32],
    offsets: &'a [usize],
    channels: usize,
}

impl Pixels<'_> {
    /// All channels of `P` output pixels, whose taps start at `starts` and whose channels at `places`.
    #[inline(always)]
    fn write<S: Simd, const P: usize>(
        &self,
        simd: S,
        input: &[f32],
        starts: &[usize; P],
        output: &mut [f32],
        places: &[usize; P],
    ) {
        let lanes = lanes::<S>();
        let mut channel = 0;
        while channel + lanes <= self.channels {
            let sums = self.sums::<S, P, true>(simd, input, starts, channel);
            for pixel in 0..P {
                let place = &mut output[places[pixel] + channel..][..lanes];
                store::<S, true>(simd, place, sums[pixel]);
            }
            channel += lanes;
        }
        if channel < self.channels {
            let sums = self.sums::<S, P, false>(simd, input, starts, channel);
            for pixel in 0..P {
                let place = &mut output[places[pixel] + channel..][..self.channels - channel];
                store::<S, false>(simd, place, sums[pixel]);
            }
        }
    }

    /// `bias + Σ input[tap of pixel] · weight[tap]`, taps in order, for the vector that starts at `channel`; `WHOLE` where the channels
    /// fill it.
    #[inline(always)]
    fn sums<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        simd: S,
        input: &[f32],
        starts: &[usize; P],
        channel: usize,
    ) -> [S::f32s; P] {
        let width = lanes::<S>().min(self.channels - channel);
        let first = load::<S, WHOLE>(simd, &self.bias[channel..][..width]);
        let mut sums = [first; P];
        let taps = self.weights.chunks_exact(self.channels);
        for (&offset, weights) in self.offsets.iter().zip(taps) {
            let weight = load::<S, WHOLE>(simd, &weights[channel..][..width]);
            for pixel in 0..P {
                let values = &input[starts[pixel] + offset + channel..][..width];
                let value = load::<S, WHOLE>(simd, values);
                sums[pixel] = simd.mul_add_e_f32s(value, weight, sums[pixel]);
            }
        }
        sums
    }
}

/// A vector from as many values, or from fewer with zeros behind them.
#[inline(always)]
fn load<S: Simd, const WHOLE: bool>(simd: S, values: &[f32]) -> S::f32s {
    if WHOLE {
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(values))
    } else {
        simd.partial_load_f32s(values)
    }
}

/// The reverse of [`load`].
#[inline(always)]
fn store<S: Simd, const WHOLE: bool>(simd: S, values: &mut [f32], vector: S::f32s) {
    if WHOLE {
        values.copy_from_slice(bytemuck::cast_slice(&[vector]));
    } else {
        simd.partial_store_f32s(values, vector);
    }
}
