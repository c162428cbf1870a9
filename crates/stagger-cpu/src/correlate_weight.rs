//! The gradient of a convolution's weight.

use pulp::{Simd, WithSimd};

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::channels_last::{arch, spread};
use crate::microkernel::{lanes, taps, vectors};
use crate::padded::{Frame, Framed, Group};
use crate::threads::{Threads, share};
use crate::winograd;

/// Pixels that a block of sums takes before it is put back: enough to hide that, few enough for the first-level cache.
const PIXELS: usize = 128;

/// The gradient of a weight of sides `weight`, `[O, C, k, k]`; `input` and `output_grad` have to be channels-last.
pub(crate) fn weight_grad(
    input: &CpuTensor,
    weight: [usize; 4],
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let [samples, channels, height, width] = input.sides();
    let [outputs, _, kernel, _] = weight;
    let [_, _, grad_height, grad_width] = output_grad.sides();
    let frame = Frame::around(channels, height, width, geometry.padding);
    let (input, output_grad) = (input.values(), output_grad.values());
    let sides = [grad_height, grad_width];
    let sums = match winograd::weight_tile(geometry, weight, sides) {
        Some(tile) => winograd::WeightGrad {
            input,
            output_grad,
            samples,
            frame,
            outputs,
        }
        .run(tile),
        None => WeightGrad {
            input,
            output_grad,
            samples,
            frame,
            kernel,
            stride: geometry.stride,
            outputs,
            grad_height,
            grad_width,
        }
        .run(),
    };
    let taps = kernel * kernel;
    let mut gradient = vec![0.0; outputs * channels * taps];
    let each = share(outputs, gradient.len());
    let of_outputs = gradient.chunks_mut((each * channels * taps).max(1));
    let stride = sums.len() / (channels * taps).max(1);
    spread(
        (0..).step_by(each).zip(of_outputs),
        &Threads,
        |(first, gradient)| {
            for (output, gradient) in (first..).zip(gradient.chunks_mut(channels * taps)) {
                for (channel, gradient) in gradient.chunks_mut(taps).enumerate() {
                    for (tap, value) in gradient.iter_mut().enumerate() {
                        *value = sums[(tap * channels + channel) * stride + output];
                    }
                }
            }
        },
    );
    CpuTensor::row_major(gradient, &[outputs, channels, kernel, kernel])
}

struct WeightGrad<'a> {
    input: &'a [f32],
    output_grad: &'a [f32],
    samples: usize,
    frame: Frame,
    kernel: usize,
    stride: usize,
    outputs: usize,
    grad_height: usize,
    grad_width: usize,
}

impl WeightGrad<'_> {
    /// Sums by (kernel row, kernel column, input channel, output channel), output channels filled up to whole vectors. Threads take
    /// taps, and go through all pixels with them.
    fn run(&self) -> Vec<f32> {
        let arch = arch();
        let filled = self.outputs.next_multiple_of(arch.dispatch(Lanes));
        let run = self.kernel * self.frame.channels;
        let mut sums = vec![0.0; self.kernel * run * filled];
        let rows = sums.chunks_mut((run * filled).max(1)).enumerate();
        let mut pieces: Vec<_> = rows
            .flat_map(|(row, sums)| {
                let taps = sums.chunks_mut(PIECE * filled);
                let firsts = (row * self.frame.pitch()..).step_by(PIECE);
                firsts.zip(taps).map(|(first, sums)| Piece { first, sums })
            })
            .collect();
        let pixels = self.samples * self.grad_height * self.grad_width;
        let each = share(pieces.len(), pixels * self.kernel * run * self.outputs);
        spread(pieces.chunks_mut(each), &Threads, |pieces| {
            arch.dispatch(Taps {
                of: self,
                filled,
                pieces,
            });
        });
        sums
    }
}

/// Taps that one thread takes at least: a multiple of all that [`Band::taps`] takes at a time.
const PIECE: usize = 24;

/// The sums of some neighbouring taps of one row of the kernel.
struct Piece<'a> {
    /// Where the first of them lies, from where the taps of a pixel start.
    first: usize,
    /// Tap by tap, all output channels.
    sums: &'a mut [f32],
}

/// Values per vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        lanes::<S>()
    }
}

struct Taps<'a, 'p> {
    of: &'a WeightGrad<'a>,
    /// Output channels, filled up to whole vectors.
    filled: usize,
    pieces: &'a mut [Piece<'p>],
}

impl WithSimd for Taps<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, filled, pieces } = self;
        let WeightGrad {
            frame,
            stride,
            outputs,
            grad_height,
            grad_width,
            ..
        } = *of;
        let group = Group::new(frame, (0, 0), stride, (grad_height, grad_width), of.samples);
        let image_len = group.samples * frame.height * frame.width * frame.channels;
        let grad_len = group.samples * group.pixels * outputs;
        let mut framed = Framed::new(frame, group.samples);
        let mut fill = Fill::new(outputs, filled, group.samples * group.pixels);
        let images = of.input.chunks(image_len.max(1));
        for (input, grads) in images.zip(of.output_grad.chunks(grad_len.max(1))) {
            let starts = &group.starts[..grads.len() / outputs];
            let input = framed.set(input);
            let grads = fill.set(grads);
            for (starts, grads) in starts.chunks(PIXELS).zip(grads.chunks(PIXELS * filled)) {
                let band = Band {
                    input,
                    starts,
                    grads,
                    grad_step: filled,
                };
                for piece in pieces.iter_mut() {
                    let mut channel = 0;
                    while channel < filled {
                        let left = (filled - channel) / lanes::<S>();
                        if left.min(vectors::<S>()) >= 2 {
                            band.taps::<S, 2>(simd, piece, channel);
                            channel += 2 * lanes::<S>();
                        } else {
                            band.taps::<S, 1>(simd, piece, channel);
                            channel += lanes::<S>();
                        }
                    }
                }
            }
        }
    }
}

/// Some output pixels: where their taps start in the input, and their gradients.
struct Band<'a> {
    input: &'a [f32],
    starts: &'a [usize],
    grads: &'a [f32],
    grad_step: usize,
}

impl Band<'_> {
    /// All taps of a piece, for `V` vectors of output channels.
    #[inline(always)]
    fn taps<S: Simd, const V: usize>(&self, simd: S, piece: &mut Piece<'_>, channel: usize) {
        let run = piece.sums.len() / self.grad_step;
        let mut tap = 0;
        while tap < run {
            tap += match run - tap {
                // Only where that many sums fit into registers.
                24.. if V == 1 && S::REGISTER_COUNT >= 32 => {
                    self.block::<S, 24, V>(simd, piece, tap, channel);
                    24
                }
                12.. if V == 2 => {
                    self.block::<S, 12, V>(simd, piece, tap, channel);
                    12
                }
                8.. => {
                    self.block::<S, 8, V>(simd, piece, tap, channel);
                    8
                }
                _ => {
                    self.block::<S, 1, V>(simd, piece, tap, channel);
                    1
                }
            };
        }
    }

    #[inline(always)]
    fn block<S: Simd, const J: usize, const V: usize>(
        &self,
        simd: S,
        piece: &mut Piece<'_>,
        tap: usize,
        channel: usize,
    ) {
        let all = &mut *piece.sums;
        let width = V * lanes::<S>();
        let at = |index: usize| {
            let start = (tap + index) * self.grad_step + channel;
            start..start + width
        };
        let mut sums = [[simd.splat_f32s(0.0); V]; J];
        for (index, sums) in sums.iter_mut().enumerate() {
            let (vectors, _) = S::as_simd_f32s(&all[at(index)]);
            sums.copy_from_slice(&vectors[..V]);
        }
        let grads = &self.grads[channel..];
        let offset = piece.first + tap;
        sums = taps(
            simd,
            sums,
            self.input,
            self.starts,
            offset,
            grads,
            self.grad_step,
        );
        for (index, sums) in sums.into_iter().enumerate() {
            let (vectors, _) = S::as_mut_simd_f32s(&mut all[at(index)]);
            vectors[..V].copy_from_slice(&sums);
        }
    }
}

/// Memory in which a pixel's channels fill whole vectors.
struct Fill {
    channels: usize,
    filled: usize,
    values: Vec<f32>,
}

impl Fill {
    fn new(channels: usize, filled: usize, pixels: usize) -> Self {
        let len = if channels == filled {
            0
        } else {
            pixels * filled
        };
        Self {
            channels,
            filled,
            values: vec![0.0; len],
        }
    }

    fn set<'a>(&'a mut self, image: &'a [f32]) -> &'a [f32] {
        if self.channels == self.filled {
            return image;
        }
        let pixels = image.chunks_exact(self.channels);
        for (filled, pixel) in self.values.chunks_exact_mut(self.filled).zip(pixels) {
            filled[..self.channels].copy_from_slice(pixel);
        }
        &self.values
    }
}
