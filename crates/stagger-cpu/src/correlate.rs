//! Convolution forward, by sums over all taps.

use pulp::{Simd, WithSimd};

use stagger_engine::layered::Convolution;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::{arch, spread};
use crate::microkernel::{Block, Taps, lanes, pixels};
use crate::padded::{Frame, Framed, Group};
use crate::threads::{Threads, share};
use crate::winograd::{self, Convolve};

/// `[N, C, H, W]`, channels-last, with `[O, C, k, k]` to `[N, O, H', W']`.
pub(crate) fn forward(
    input: &CpuTensor,
    weight: CpuTensor,
    bias: Option<CpuTensor>,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let [samples, channels, height, width] = input.sides();
    let weight_sides = weight.sides();
    let [outputs, _, kernel, _] = weight_sides;
    let Convolution {
        stride, padding, ..
    } = geometry;
    let weights = weight.values();
    let weight_at = |output: usize, row: usize, column: usize, channel: usize| {
        weights[((output * channels + channel) * kernel + row) * kernel + column]
    };
    let frame = Frame::around(channels, height, width, padding);
    let side = |full: usize| (full - kernel) / stride + 1;
    let sides = [side(frame.full_height), side(frame.full_width)];
    let (input, bias) = (input.values(), bias.as_ref().map(CpuTensor::values));
    let values = match winograd::tile(geometry, weight_sides, sides) {
        Some(tile) => winograd::convolve(
            &Convolve {
                input,
                bias,
                samples,
                frame,
                outputs,
                weight_at,
            },
            tile,
        ),
        None => {
            let correlation = Correlation {
                input,
                bias,
                samples,
                frame,
                kernel: (kernel, kernel),
                origin: (0, 0),
                stride,
                outputs,
                lattice: Lattice::whole(sides.into()),
                weight_at,
            };
            let mut values = take(samples * sides[0] * sides[1] * outputs);
            correlation.write(&mut values);
            values
        }
    };
    CpuTensor::channels_last(values, [samples, outputs, sides[0], sides[1]])
}

/// Pixels of an image: every `step`-th row and column from `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Lattice {
    /// Rows and columns of the image.
    pub image: (usize, usize),
    /// Row and column of the first pixel.
    pub first: (usize, usize),
    pub step: usize,
    /// Rows and columns of such pixels.
    pub sides: (usize, usize),
}

impl Lattice {
    /// All pixels.
    pub(crate) fn whole(image: (usize, usize)) -> Self {
        Self {
            image,
            first: (0, 0),
            step: 1,
            sides: image,
        }
    }

    /// Where the channels of each pixel start in `samples` images, row by row.
    pub(crate) fn starts(&self, samples: usize, channels: usize) -> Vec<usize> {
        let (height, width) = self.image;
        let mut starts = Vec::with_capacity(samples * self.sides.0 * self.sides.1);
        for sample in 0..samples {
            for row in 0..self.sides.0 {
                let line = sample * height + self.first.0 + row * self.step;
                let column = |column| line * width + self.first.1 + column * self.step;
                starts.extend((0..self.sides.1).map(|at| column(at) * channels));
            }
        }
        starts
    }
}

/// A convolution over channels-last memory.
pub(crate) struct Correlation<'a, W> {
    pub input: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub samples: usize,
    pub frame: Frame,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Row and column of the frame at which the taps of the first output start.
    pub origin: (usize, usize),
    pub stride: usize,
    pub outputs: usize,
    /// The output pixels.
    pub lattice: Lattice,
    /// Weight by (output channel, kernel row, kernel column, input channel).
    pub weight_at: W,
}

impl<W: Fn(usize, usize, usize, usize) -> f32 + Sync> Correlation<'_, W> {
    /// Writes the pixels of the lattice into `output`, channels-last, and leaves the others. Threads take samples.
    pub(crate) fn write(&self, output: &mut [f32]) {
        let arch = arch();
        let mut blocks = Block::all(self.outputs, arch);
        let weights = self.kernel.0 * self.kernel.1 * self.frame.channels * self.outputs;
        let each = share(blocks.len(), weights);
        spread(blocks.chunks_mut(each), &Threads, |blocks| {
            blocks.iter_mut().for_each(|block| self.pack(block));
        });

        let Lattice { image, sides, .. } = self.lattice;
        let image_len = self.frame.height * self.frame.width * self.frame.channels;
        let output_len = image.0 * image.1 * self.outputs;
        let each = share(self.samples, self.samples * sides.0 * sides.1 * weights);
        let inputs = self.input.chunks((each * image_len).max(1));
        let outputs = output.chunks_mut((each * output_len).max(1));
        spread(inputs.zip(outputs), &Threads, |(input, output)| {
            arch.dispatch(Write {
                correlation: self,
                blocks: &blocks,
                input,
                output,
            });
        });
    }

    fn pack(&self, block: &mut Block) {
        let Block {
            first,
            width,
            ref mut packed,
            ..
        } = *block;
        let bias = self.bias.unwrap_or_default();
        let bias = bias
            .iter()
            .skip(first)
            .copied()
            .chain(std::iter::repeat(0.0));
        packed.extend(bias.take(width));

        for row in 0..self.kernel.0 {
            for column in 0..self.kernel.1 {
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

/// Some samples of a correlation.
struct Write<'a, W> {
    correlation: &'a Correlation<'a, W>,
    blocks: &'a [Block],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl<W> WithSimd for Write<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            correlation: all,
            blocks,
            input,
            output,
        } = self;
        let Lattice { image, sides, .. } = all.lattice;
        let image_len = all.frame.height * all.frame.width * all.frame.channels;
        let output_len = image.0 * image.1 * all.outputs;
        let samples = output.len() / output_len.max(1);
        let taps = Taps {
            run: all.kernel.1 * all.frame.channels,
            pitch: all.frame.pitch(),
        };
        let group = Group::new(all.frame, all.origin, all.stride, sides, samples);
        let places = all.lattice.starts(group.samples, all.outputs);
        let mut framed = Framed::new(all.frame, group.samples);
        let images = input.chunks((group.samples * image_len).max(1));
        for (input, output) in images.zip(output.chunks_mut((group.samples * output_len).max(1))) {
            let input = framed.set(input);
            let count = output.len() / output_len * group.pixels;
            let (starts, places) = (&group.starts[..count], &places[..count]);
            for block in blocks {
                let (weights, _) = S::as_simd_f32s(&block.packed);
                let output = Output {
                    values: &mut *output,
                    places,
                    channels: all.outputs,
                    first: block.first,
                };
                match block.vectors {
                    1 => output_pixels::<S, 1>(simd, input, starts, taps, weights, output),
                    _ => output_pixels::<S, 2>(simd, input, starts, taps, weights, output),
                }
            }
        }
    }
}

/// Output pixels, to be filled from channel `first` on.
struct Output<'a> {
    values: &'a mut [f32],
    /// Where the channels of each pixel start.
    places: &'a [usize],
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
            let start = self.places[pixel + index];
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
