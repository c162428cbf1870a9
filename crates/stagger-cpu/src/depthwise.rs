//! Convolutions with as many groups as channels: each channel has a kernel of its own, and nothing is summed over channels.

// The compiler keeps the sums in registers only if it unrolls these loops early, which it does not do for iterators.
#![allow(clippy::needless_range_loop)]

use pulp::{Simd, WithSimd, bytemuck};

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::arch;
use crate::correlate::Lattice;
use crate::input_grad::parts;
use crate::microkernel::lanes;
use crate::padded::{Frame, Framed, Group};

/// Pixels whose products are summed before they are added to the gradient of a weight: few enough for the first-level cache, and so that
/// no sum gets long.
const PIXELS: usize = 128;

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

/// The gradient of a weight of sides `weight`, `[C, 1, k, k]`; `input` and `output_grad` have to be channels-last.
pub(crate) fn weight_grad(
    input: &CpuTensor,
    weight: [usize; 4],
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let [samples, channels, height, width] = input.sides();
    let [_, _, kernel, _] = weight;
    let [_, _, grad_height, grad_width] = output_grad.sides();
    let sums = arch().dispatch(WeightGrad {
        input: input.values(),
        output_grad: output_grad.values(),
        samples,
        frame: Frame::around(channels, height, width, geometry.padding),
        kernel,
        stride: geometry.stride,
        sides: (grad_height, grad_width),
    });
    let taps = kernel * kernel;
    let mut gradient = Vec::with_capacity(channels * taps);
    for channel in 0..channels {
        gradient.extend((0..taps).map(|tap| sums[tap * channels + channel]));
    }
    CpuTensor::row_major(gradient, &weight)
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

impl<W: Fn(usize, usize, usize) -> f32> Depthwise<'_, W> {
    /// Writes the pixels of the lattice into `output`, channels-last, and leaves the others.
    fn write(self, output: &mut [f32]) {
        arch().dispatch(Write {
            correlation: self,
            output,
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

struct Write<'a, 'o, W> {
    correlation: Depthwise<'a, W>,
    output: &'o mut [f32],
}

impl<W: Fn(usize, usize, usize) -> f32> WithSimd for Write<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            correlation: all,
            output,
        } = self;
        let Lattice { image, sides, .. } = all.lattice;
        let channels = all.frame.channels;
        let image_len = all.frame.height * all.frame.width * channels;
        let output_len = image.0 * image.1 * channels;
        let weights = all.packed();
        let zeros = vec![0.0; channels];
        let pixels = Pixels {
            bias: all.bias.unwrap_or(&zeros),
            weights: &weights,
            offsets: &offsets(&all.frame, all.kernel),
            channels,
        };
        let group = Group::new(all.frame, all.origin, all.stride, sides, all.samples);
        let places = all.lattice.starts(group.samples, channels);
        let mut framed = Framed::new(all.frame, group.samples);
        let images = all.input.chunks((group.samples * image_len).max(1));
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

struct WeightGrad<'a> {
    input: &'a [f32],
    output_grad: &'a [f32],
    samples: usize,
    frame: Frame,
    kernel: usize,
    stride: usize,
    /// Rows and columns of the output.
    sides: (usize, usize),
}

impl WithSimd for WeightGrad<'_> {
    /// Sums by (kernel row, kernel column, channel).
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { frame, kernel, .. } = self;
        let channels = frame.channels;
        let offsets = offsets(&frame, (kernel, kernel));
        let mut sums = vec![0.0; offsets.len() * channels];
        let group = Group::new(frame, (0, 0), self.stride, self.sides, self.samples);
        let mut framed = Framed::new(frame, group.samples);
        let image_len = group.samples * frame.height * frame.width * channels;
        let grad_len = group.samples * group.pixels * channels;
        let images = self.input.chunks(image_len.max(1));
        for (input, grads) in images.zip(self.output_grad.chunks(grad_len.max(1))) {
            let starts = &group.starts[..grads.len() / channels];
            let input = framed.set(input);
            for (starts, grads) in starts.chunks(PIXELS).zip(grads.chunks(PIXELS * channels)) {
                let band = Band {
                    input,
                    starts,
                    grads,
                    channels,
                };
                band.add::<S>(simd, &offsets, &mut sums);
            }
        }
        sums
    }
}

/// Some output pixels: where their taps start in the input, and their gradients.
struct Band<'a> {
    input: &'a [f32],
    starts: &'a [usize],
    grads: &'a [f32],
    channels: usize,
}

impl Band<'_> {
    /// Adds to the sums of all taps.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, offsets: &[usize], sums: &mut [f32]) {
        let lanes = lanes::<S>();
        let mut channel = 0;
        while channel + lanes <= self.channels {
            self.taps::<S, true>(simd, offsets, sums, channel);
            channel += lanes;
        }
        if channel < self.channels {
            self.taps::<S, false>(simd, offsets, sums, channel);
        }
    }

    /// The vector of channels that starts at `channel`, a few taps at a time: as many as leave registers for the rest.
    #[inline(always)]
    fn taps<S: Simd, const WHOLE: bool>(
        &self,
        simd: S,
        offsets: &[usize],
        sums: &mut [f32],
        channel: usize,
    ) {
        let (nines, rest) = offsets.as_chunks::<9>();
        let (threes, ones) = rest.as_chunks::<3>();
        let mut taps = sums.chunks_exact_mut(self.channels);
        for offsets in nines {
            self.block::<S, WHOLE, 9>(simd, offsets, &mut taps, channel);
        }
        for offsets in threes {
            self.block::<S, WHOLE, 3>(simd, offsets, &mut taps, channel);
        }
        for &offset in ones {
            self.block::<S, WHOLE, 1>(simd, &[offset], &mut taps, channel);
        }
    }

    /// `sum[tap] += Σ_pixel input[tap of pixel] · grad[pixel]` for the next `J` taps, pixels in order.
    #[inline(always)]
    fn block<'s, S: Simd, const WHOLE: bool, const J: usize>(
        &self,
        simd: S,
        offsets: &[usize; J],
        taps: impl Iterator<Item = &'s mut [f32]>,
        channel: usize,
    ) {
        let width = lanes::<S>().min(self.channels - channel);
        let mut sums = [simd.splat_f32s(0.0); J];
        let pixels = self.grads.chunks_exact(self.channels);
        for (&start, grads) in self.starts.iter().zip(pixels) {
            let grad = load::<S, WHOLE>(simd, &grads[channel..][..width]);
            for tap in 0..J {
                let values = &self.input[start + offsets[tap] + channel..][..width];
                let value = load::<S, WHOLE>(simd, values);
                sums[tap] = simd.mul_add_e_f32s(value, grad, sums[tap]);
            }
        }
        for (total, sum) in taps.take(J).zip(sums) {
            let total = &mut total[channel..][..width];
            let before = load::<S, WHOLE>(simd, total);
            store::<S, WHOLE>(simd, total, simd.add_f32s(before, sum));
        }
    }
}
