//! A convolution forward, and the gradient of its input, which is one with the kernel turned round.

use pulp::{Simd, WithSimd};

use super::tiling::{Input, Kernel, Layout, Output, Transform, scatter, transform};
use super::{Grid, Tile, spaced};
use crate::buffers::take;
use crate::channels_last::{arch, spread};
use crate::microkernel::{Block, Taps, lanes, pixels};
use crate::padded::{Frame, Framed};
use crate::threads::{Threads, share};

/// A 3×3 convolution of stride 1 over channels-last memory; channels and outputs as [`super::tile`] asks for.
pub(crate) struct Convolve<'a, W> {
    pub input: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub samples: usize,
    /// Where an image lies between its zeros.
    pub frame: Frame,
    pub outputs: usize,
    /// Weight by (output channel, kernel row, kernel column, input channel).
    pub weight_at: W,
}

/// The output, channels-last.
pub(crate) fn convolve<W: Fn(usize, usize, usize, usize) -> f32 + Sync>(
    convolve: &Convolve<'_, W>,
    tile: Tile,
) -> Vec<f32> {
    match tile {
        Tile::Two => convolve.run::<4, 2>(),
        Tile::Four => convolve.run::<6, 4>(),
    }
}

/// Tiles whose products are in memory at a time.
const TILES: usize = 32;

impl<W: Fn(usize, usize, usize, usize) -> f32 + Sync> Convolve<'_, W> {
    /// Rows and columns of an output.
    fn sides(&self) -> (usize, usize) {
        (self.frame.full_height - 2, self.frame.full_width - 2)
    }

    /// Threads take blocks of output channels for the kernels, and samples for the rest.
    fn run<const N: usize, const M: usize>(&self) -> Vec<f32>
    where
        Input<N>: Transform<N, N>,
        Kernel<N>: Transform<3, N>,
        Output<N>: Transform<N, M>,
    {
        let arch = arch();
        let (channels, outputs) = (self.frame.channels, self.outputs);
        let mut kernels = Block::all(outputs, arch);
        let each = share(kernels.len(), N * N * channels * outputs);
        spread(kernels.chunks_mut(each), &Threads, |blocks| {
            arch.dispatch(Pack::<_, N> {
                convolve: self,
                blocks,
            });
        });

        let (height, width) = self.sides();
        let tiles = height.div_ceil(M) * width.div_ceil(M);
        let each = share(
            self.samples,
            self.samples * tiles * N * N * channels * outputs,
        );
        let image_len = self.frame.height * self.frame.width * channels;
        let output_len = height * width * outputs;
        let mut output = take(self.samples * output_len);
        let images = self.input.chunks((each * image_len).max(1));
        let outputs = output.chunks_mut((each * output_len).max(1));
        spread(images.zip(outputs), &Threads, |(input, output)| {
            arch.dispatch(Tiled::<_, N, M> {
                convolve: self,
                kernels: &kernels,
                input,
                output,
            });
        });
        output
    }
}

/// Some samples.
struct Tiled<'a, W, const N: usize, const M: usize> {
    convolve: &'a Convolve<'a, W>,
    kernels: &'a [Block],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl<W, const N: usize, const M: usize> WithSimd for Tiled<'_, W, N, M>
where
    W: Fn(usize, usize, usize, usize) -> f32 + Sync,
    Input<N>: Transform<N, N>,
    Output<N>: Transform<N, M>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            convolve,
            kernels,
            input,
            output,
        } = self;
        let (channels, outputs) = (convolve.frame.channels, convolve.outputs);
        let (height, width) = convolve.sides();
        let samples = output.len() / (height * width * outputs).max(1);
        let (rows, columns) = (height.div_ceil(M), width.div_ceil(M));
        let frame = Frame {
            full_height: rows * M + 2,
            full_width: columns * M + 2,
            ..convolve.frame
        };
        let grid = Grid::new(&frame, (rows, columns), M, TILES, samples);

        let (spacing, products_spacing) = (spaced(TILES * channels), spaced(TILES * outputs));
        let mut tiles = vec![0.0; N * N * spacing];
        let mut products = vec![0.0; N * N * products_spacing];
        let tile_starts: Vec<usize> = (0..TILES).map(|tile| tile * channels).collect();
        let mut half = [[simd.splat_f32s(0.0); N]; M];
        let mut framed = Framed::new(frame, grid.samples);
        let image_len = frame.height * frame.width * channels;
        let images = input.chunks((grid.samples * image_len).max(1));
        let outputs_of = output.chunks_mut((grid.samples * height * width * outputs).max(1));
        for (images, output) in images.zip(outputs_of) {
            let input = framed.set(images);
            let count = images.len() / image_len * rows * columns;
            for (chunk, starts) in grid.starts[..count].chunks(TILES).enumerate() {
                scatter::<S, Input<N>, N, N>(
                    simd,
                    input,
                    starts,
                    (frame.pitch(), channels),
                    spacing,
                    &(0..N),
                    &mut tiles,
                );
                for position in 0..N * N {
                    let tiles = &tiles[position * spacing..][..spacing];
                    let products = &mut products[position * products_spacing..][..products_spacing];
                    let starts = &tile_starts[..starts.len()];
                    for block in kernels {
                        let first = block.first;
                        let len = (1 + channels) * block.vectors * lanes::<S>();
                        let (weights, _) = S::as_simd_f32s(&block.packed[position * len..][..len]);
                        match block.vectors {
                            1 => product::<S, 1>(
                                simd, tiles, starts, channels, weights, products, outputs, first,
                            ),
                            _ => product::<S, 2>(
                                simd, tiles, starts, channels, weights, products, outputs, first,
                            ),
                        }
                    }
                }
                for tile in 0..starts.len() {
                    let (sample, row, column) = grid.place(chunk * TILES + tile);
                    let first_pixel = (sample * height + row * M) * width + column * M;
                    for first in (0..outputs).step_by(lanes::<S>()) {
                        let at = Layout {
                            start: tile * outputs + first,
                            row: N * products_spacing,
                            column: products_spacing,
                        };
                        let put = Layout {
                            start: first_pixel * outputs + first,
                            row: width * outputs,
                            column: outputs,
                        };
                        let keep = (0..height - row * M, width - column * M);
                        transform::<S, Output<N>, N, M>(
                            simd,
                            &mut half,
                            (&products, at),
                            (output, put),
                            keep,
                        );
                    }
                }
            }
            if let Some(bias) = convolve.bias {
                for pixel in output.chunks_exact_mut(outputs) {
                    for (value, bias) in pixel.iter_mut().zip(bias) {
                        *value += bias;
                    }
                }
            }
        }
    }
}

/// The kernels of some blocks.
struct Pack<'a, W, const N: usize> {
    convolve: &'a Convolve<'a, W>,
    blocks: &'a mut [Block],
}

impl<W, const N: usize> WithSimd for Pack<'_, W, N>
where
    W: Fn(usize, usize, usize, usize) -> f32,
    Kernel<N>: Transform<3, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { convolve, blocks } = self;
        let (channels, lanes) = (convolve.frame.channels, lanes::<S>());
        let mut values = vec![0.0; 9 * lanes];
        let mut half = [[simd.splat_f32s(0.0); 3]; N];
        for block in blocks {
            let width = block.vectors * lanes;
            let mut packed = vec![0.0; N * N * (1 + channels) * width];
            for channel in 0..channels {
                for vector in 0..block.vectors {
                    for (tap, values) in values.chunks_exact_mut(lanes).enumerate() {
                        for (lane, value) in values.iter_mut().enumerate() {
                            let output = block.first + vector * lanes + lane;
                            *value = (convolve.weight_at)(output, tap / 3, tap % 3, channel);
                        }
                    }
                    let at = Layout {
                        start: 0,
                        row: 3 * lanes,
                        column: lanes,
                    };
                    let step = (1 + channels) * width;
                    let put = Layout {
                        start: (1 + channel) * width + vector * lanes,
                        row: N * step,
                        column: step,
                    };
                    transform::<S, Kernel<N>, 3, N>(
                        simd,
                        &mut half,
                        (&values, at),
                        (&mut packed, put),
                        (0..N, N),
                    );
                }
            }
            block.packed = packed;
        }
    }
}

/// The products of one position: tiles by channels, times channels by outputs.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn product<S: Simd, const V: usize>(
    simd: S,
    tiles: &[f32],
    starts: &[usize],
    channels: usize,
    weights: &[S::f32s],
    products: &mut [f32],
    outputs: usize,
    first: usize,
) {
    let taps = Taps {
        run: channels,
        pitch: 0,
    };
    let (blocks, rest) = starts.as_chunks::<8>();
    for (block, starts) in blocks.iter().enumerate() {
        let sums = pixels::<S, 8, V>(simd, tiles, starts, taps, weights);
        store::<S, 8, V>(products, block * 8 * outputs + first, outputs, sums);
    }
    for (tile, &start) in rest.iter().enumerate() {
        let sums = pixels::<S, 1, V>(simd, tiles, &[start], taps, weights);
        store::<S, 1, V>(
            products,
            (blocks.len() * 8 + tile) * outputs + first,
            outputs,
            sums,
        );
    }
}

#[inline(always)]
fn store<S: Simd, const P: usize, const V: usize>(
    products: &mut [f32],
    start: usize,
    step: usize,
    sums: [[S::f32s; V]; P],
) {
    for (tile, sums) in sums.iter().enumerate() {
        let at = start + tile * step;
        S::as_mut_simd_f32s(&mut products[at..at + V * lanes::<S>()]).0[..V].copy_from_slice(sums);
    }
}
