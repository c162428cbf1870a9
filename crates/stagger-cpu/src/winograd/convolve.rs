//! A convolution forward, and the gradient of its input, which is one with the kernel turned round.

use pulp::{Simd, WithSimd};

use super::tiling::{Input, Kernel, Layout, Output, Transform, scatter, transform};
use super::{Grid, Tile, spaced};
use crate::buffers::take;
use crate::channels_last::arch;
use crate::microkernel::{Taps, lanes, pixels, vectors};
use crate::padded::{Frame, Framed};

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
pub(crate) fn convolve<W: Fn(usize, usize, usize, usize) -> f32>(
    convolve: Convolve<'_, W>,
    tile: Tile,
) -> Vec<f32> {
    match tile {
        Tile::Two => arch().dispatch(Tiled::<_, 4, 2>(convolve)),
        Tile::Four => arch().dispatch(Tiled::<_, 6, 4>(convolve)),
    }
}

/// Tiles whose products are in memory at a time.
const TILES: usize = 32;

struct Tiled<'a, W, const N: usize, const M: usize>(Convolve<'a, W>);

impl<W, const N: usize, const M: usize> WithSimd for Tiled<'_, W, N, M>
where
    W: Fn(usize, usize, usize, usize) -> f32,
    Input<N>: Transform<N, N>,
    Kernel<N>: Transform<3, N>,
    Output<N>: Transform<N, M>,
{
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self(convolve) = self;
        let (channels, outputs) = (convolve.frame.channels, convolve.outputs);
        let (height, width) = (
            convolve.frame.full_height - 2,
            convolve.frame.full_width - 2,
        );
        let (rows, columns) = (height.div_ceil(M), width.div_ceil(M));
        let frame = Frame {
            full_height: rows * M + 2,
            full_width: columns * M + 2,
            ..convolve.frame
        };
        let grid = Grid::new(&frame, (rows, columns), M, TILES, convolve.samples);
        let kernels = convolve.kernels::<S, N>(simd);

        let (spacing, products_spacing) = (spaced(TILES * channels), spaced(TILES * outputs));
        let mut tiles = vec![0.0; N * N * spacing];
        let mut products = vec![0.0; N * N * products_spacing];
        let tile_starts: Vec<usize> = (0..TILES).map(|tile| tile * channels).collect();
        let mut half = [[simd.splat_f32s(0.0); N]; M];
        let mut framed = Framed::new(frame, grid.samples);
        let mut output = take(convolve.samples * height * width * outputs);
        let image_len = frame.height * frame.width * channels;
        let images = convolve.input.chunks((grid.samples * image_len).max(1));
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
                    &mut tiles,
                );
                for position in 0..N * N {
                    let tiles = &tiles[position * spacing..][..spacing];
                    let products = &mut products[position * products_spacing..][..products_spacing];
                    let starts = &tile_starts[..starts.len()];
                    let mut first = 0;
                    for (taken, packed) in &kernels {
                        let len = (1 + channels) * taken * lanes::<S>();
                        let (weights, _) = S::as_simd_f32s(&packed[position * len..][..len]);
                        match taken {
                            1 => product::<S, 1>(
                                simd, tiles, starts, channels, weights, products, outputs, first,
                            ),
                            _ => product::<S, 2>(
                                simd, tiles, starts, channels, weights, products, outputs, first,
                            ),
                        }
                        first += taken * lanes::<S>();
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
                        let keep = (height - row * M, width - column * M);
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
        output
    }
}

impl<W: Fn(usize, usize, usize, usize) -> f32> Convolve<'_, W> {
    /// `G·g·Gᵀ` of all kernels, in blocks of output channels: for each position a vector of zeros as [`pixels`] wants it, then the
    /// values of each input channel.
    #[inline(always)]
    fn kernels<S: Simd, const N: usize>(&self, simd: S) -> Vec<(usize, Vec<f32>)>
    where
        Kernel<N>: Transform<3, N>,
    {
        let (channels, lanes) = (self.frame.channels, lanes::<S>());
        let mut blocks = Vec::new();
        let mut first = 0;
        let mut values = vec![0.0; 9 * lanes];
        let mut half = [[simd.splat_f32s(0.0); 3]; N];
        while first < self.outputs {
            let taken = ((self.outputs - first) / lanes).min(vectors::<S>());
            let width = taken * lanes;
            let mut packed = vec![0.0; N * N * (1 + channels) * width];
            for channel in 0..channels {
                for vector in 0..taken {
                    for (tap, values) in values.chunks_exact_mut(lanes).enumerate() {
                        for (lane, value) in values.iter_mut().enumerate() {
                            let output = first + vector * lanes + lane;
                            *value = (self.weight_at)(output, tap / 3, tap % 3, channel);
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
                        (N, N),
                    );
                }
            }
            blocks.push((taken, packed));
            first += width;
        }
        blocks
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
