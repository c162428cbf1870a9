//! The gradient of the weight.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use stagger_engine::layered::Convolution;

use super::{load, offsets, store};
use crate::CpuTensor;
use crate::channels_last::{arch, spread};
use crate::microkernel::lanes;
use crate::padded::{Frame, Framed, Group};
use crate::threads::{Threads, share};

/// Pixels whose products are summed before they are added to the gradient of a weight: few enough for the first-level cache, and so that
/// no sum gets long.
const PIXELS: usize = 128;

/// Values of the widest vector.
const VECTOR: usize = 16;

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
    let all = WeightGrad {
        input: input.values(),
        output_grad: output_grad.values(),
        samples,
        frame: Frame::around(channels, height, width, geometry.padding),
        kernel,
        stride: geometry.stride,
        sides: (grad_height, grad_width),
    };
    let taps = kernel * kernel;
    let mut gradient = vec![0.0; channels * taps];
    // Threads take channels, in whole vectors of every instruction set, and go through all pixels with them.
    let multiplications = samples * grad_height * grad_width * gradient.len();
    let each = share(channels.div_ceil(VECTOR), multiplications) * VECTOR;
    let arch = arch();
    let jobs = gradient.chunks_mut((each * taps).max(1)).enumerate();
    spread(jobs, &Threads, |(index, gradient)| {
        let first = index * each;
        let own = first..channels.min(first + each);
        let sums = arch.dispatch(Sums {
            of: &all,
            channels: own.clone(),
        });
        for (channel, gradient) in own.zip(gradient.chunks_exact_mut(taps)) {
            for (tap, gradient) in gradient.iter_mut().enumerate() {
                *gradient = sums[tap * channels + channel];
            }
        }
    });
    CpuTensor::row_major(gradient, &weight)
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

/// The sums of some channels.
struct Sums<'a> {
    of: &'a WeightGrad<'a>,
    /// From the start of a vector on, up to the start of another or the last channel.
    channels: Range<usize>,
}

impl WithSimd for Sums<'_> {
    /// Sums by (kernel row, kernel column, channel); those of other channels are 0.
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { of, channels: own } = self;
        let WeightGrad { frame, kernel, .. } = *of;
        let channels = frame.channels;
        let offsets = offsets(&frame, (kernel, kernel));
        let mut sums = vec![0.0; offsets.len() * channels];
        let group = Group::new(frame, (0, 0), of.stride, of.sides, of.samples);
        let mut framed = Framed::new(frame, group.samples);
        let image_len = group.samples * frame.height * frame.width * channels;
        let grad_len = group.samples * group.pixels * channels;
        let images = of.input.chunks(image_len.max(1));
        for (input, grads) in images.zip(of.output_grad.chunks(grad_len.max(1))) {
            let starts = &group.starts[..grads.len() / channels];
            let input = framed.set(input);
            for (starts, grads) in starts.chunks(PIXELS).zip(grads.chunks(PIXELS * channels)) {
                let band = Band {
                    input,
                    starts,
                    grads,
                    channels,
                };
                band.add::<S>(simd, &offsets, &mut sums, &own);
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
    /// Adds to the sums of all taps, for these channels.
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, offsets: &[usize], sums: &mut [f32], channels: &Range<usize>) {
        let lanes = lanes::<S>();
        let mut channel = channels.start;
        while channel + lanes <= channels.end {
            self.taps::<S, true>(simd, offsets, sums, channel);
            channel += lanes;
        }
        if channel < channels.end {
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
