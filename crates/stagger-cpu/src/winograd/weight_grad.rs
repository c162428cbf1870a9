//! The gradient of the weight: the transposed formula, its sums running over tiles.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::tiling::{Input, KernelGrad, Layout, OutputGrad, Transform, scatter, transform};
use super::{Grid, Tile, spaced};
use crate::channels_last::{arch, spread};
use crate::microkernel::{lanes, taps, vectors};
use crate::padded::{Frame, Framed};
use crate::threads::{Threads, share};

/// The gradient of a 3×3 kernel of stride 1; channels and outputs as [`super::tile`] asks for.
pub(crate) struct WeightGrad<'a> {
    pub input: &'a [f32],
    pub output_grad: &'a [f32],
    pub samples: usize,
    /// Where an input lies between its zeros.
    pub frame: Frame,
    pub outputs: usize,
}

impl WeightGrad<'_> {
    /// Sums by (kernel row, kernel column, input channel, output channel).
    pub(crate) fn run(&self, tile: Tile) -> Vec<f32> {
        match tile {
            Tile::Two => self.tiled::<4, 2>(),
            Tile::Four => self.tiled::<6, 4>(),
        }
    }

    /// Rows and columns of an output.
    fn sides(&self) -> (usize, usize) {
        (self.frame.full_height - 2, self.frame.full_width - 2)
    }

    /// Threads take rows of the positions in a tile, and go through all tiles with them: each transforms what its rows need of every
    /// tile. They could take tiles instead, but would then wait for each other, or sum in another order than one thread.
    fn tiled<const N: usize, const M: usize>(&self) -> Vec<f32>
    where
        Input<N>: Transform<N, N>,
        OutputGrad<N>: Transform<M, N>,
        KernelGrad<N>: Transform<N, 3>,
    {
        let arch = arch();
        let (height, width) = self.sides();
        let tiles = self.samples * height.div_ceil(M) * width.div_ceil(M);
        let matrix = self.frame.channels * self.outputs;
        let mut sums = vec![0.0; N * N * matrix];
        let each = share(N, tiles * N * N * matrix);
        let rows = (0..N).step_by(each).map(|row| row..(row + each).min(N));
        let sums_of_rows = sums.chunks_mut(each * N * matrix);
        spread(rows.zip(sums_of_rows), &Threads, |(rows, sums)| {
            arch.dispatch(Tiled::<N, M> {
                of: self,
                rows,
                sums,
            });
        });
        arch.dispatch(KernelGrads::<N> {
            sums: &sums,
            matrix,
        })
    }
}

/// Tiles that are transformed before their sums are made: enough to pay for loading the sums.
const TILES: usize = 64;

/// Some rows of the positions in all tiles.
struct Tiled<'a, const N: usize, const M: usize> {
    of: &'a WeightGrad<'a>,
    rows: Range<usize>,
    /// By position, channel and output.
    sums: &'a mut [f32],
}

impl<const N: usize, const M: usize> WithSimd for Tiled<'_, N, M>
where
    Input<N>: Transform<N, N>,
    OutputGrad<N>: Transform<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, rows, sums } = self;
        let (channels, outputs) = (of.frame.channels, of.outputs);
        let (height, width) = of.sides();
        let (tile_rows, tile_columns) = (height.div_ceil(M), width.div_ceil(M));
        let frame = Frame {
            full_height: tile_rows * M + 2,
            full_width: tile_columns * M + 2,
            ..of.frame
        };
        let grid = Grid::new(&frame, (tile_rows, tile_columns), M, TILES, of.samples);
        let grad_frame = Frame {
            channels: outputs,
            height,
            width,
            top: 0,
            left: 0,
            full_height: tile_rows * M,
            full_width: tile_columns * M,
        };
        let grad_grid = Grid::new(&grad_frame, (tile_rows, tile_columns), M, TILES, of.samples);

        // Of positions in other rows nothing is written: their room is never touched.
        let (spacing, grad_spacing) = (spaced(TILES * channels), spaced(TILES * outputs));
        let mut tiles = vec![0.0; N * N * spacing];
        let mut grad_tiles = vec![0.0; N * N * grad_spacing];
        let tile_starts: Vec<usize> = (0..TILES).map(|tile| tile * channels).collect();
        let (mut framed, mut framed_grads) = (
            Framed::new(frame, grid.samples),
            Framed::new(grad_frame, grid.samples),
        );
        let image_len = frame.height * frame.width * channels;
        let images = of.input.chunks((grid.samples * image_len).max(1));
        let grads = of
            .output_grad
            .chunks((grid.samples * height * width * outputs).max(1));
        for (images, grads) in images.zip(grads) {
            let (input, grads) = (framed.set(images), framed_grads.set(grads));
            let count = images.len() / image_len * tile_rows * tile_columns;
            let starts = grid.starts[..count].chunks(TILES);
            for (starts, grad_starts) in starts.zip(grad_grid.starts[..count].chunks(TILES)) {
                scatter::<S, Input<N>, N, N>(
                    simd,
                    input,
                    starts,
                    (frame.pitch(), channels),
                    spacing,
                    &rows,
                    &mut tiles,
                );
                let pitch = grad_frame.pitch();
                scatter::<S, OutputGrad<N>, M, N>(
                    simd,
                    grads,
                    grad_starts,
                    (pitch, outputs),
                    grad_spacing,
                    &rows,
                    &mut grad_tiles,
                );
                let positions = rows.start * N..rows.end * N;
                for (position, sums) in positions.zip(sums.chunks_exact_mut(channels * outputs)) {
                    let matrix = Matrix {
                        tiles: &tiles[position * spacing..][..spacing],
                        starts: &tile_starts[..starts.len()],
                        grads: &grad_tiles[position * grad_spacing..][..grad_spacing],
                        outputs,
                    };
                    matrix.add(simd, sums, channels);
                }
            }
        }
    }
}

/// Sums over tiles for one position: channels by outputs.
struct Matrix<'a> {
    tiles: &'a [f32],
    starts: &'a [usize],
    grads: &'a [f32],
    outputs: usize,
}

impl Matrix<'_> {
    #[inline(always)]
    fn add<S: Simd>(&self, simd: S, sums: &mut [f32], channels: usize) {
        let mut first = 0;
        while first < self.outputs {
            let left = (self.outputs - first) / lanes::<S>();
            if left.min(vectors::<S>()) >= 2 {
                for channel in (0..channels).step_by(8) {
                    self.block::<S, 8, 2>(simd, sums, channel, first);
                }
                first += 2 * lanes::<S>();
            } else {
                for channel in (0..channels).step_by(8) {
                    self.block::<S, 8, 1>(simd, sums, channel, first);
                }
                first += lanes::<S>();
            }
        }
    }

    #[inline(always)]
    fn block<S: Simd, const J: usize, const V: usize>(
        &self,
        simd: S,
        all: &mut [f32],
        channel: usize,
        first: usize,
    ) {
        let at = |index: usize| {
            let start = (channel + index) * self.outputs + first;
            start..start + V * lanes::<S>()
        };
        let mut sums = [[simd.splat_f32s(0.0); V]; J];
        for (index, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&S::as_simd_f32s(&all[at(index)]).0[..V]);
        }
        sums = taps(
            simd,
            sums,
            self.tiles,
            self.starts,
            channel,
            &self.grads[first..],
            self.outputs,
        );
        for (index, sums) in sums.iter().enumerate() {
            S::as_mut_simd_f32s(&mut all[at(index)]).0[..V].copy_from_slice(sums);
        }
    }
}

/// `Gᵀ·m·G` of the sums by position, channel and output.
struct KernelGrads<'a, const N: usize> {
    sums: &'a [f32],
    /// Sums of a position.
    matrix: usize,
}

impl<const N: usize> WithSimd for KernelGrads<'_, N>
where
    KernelGrad<N>: Transform<N, 3>,
{
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { sums, matrix } = self;
        let mut gradients = vec![0.0; 9 * matrix];
        let mut half = [[simd.splat_f32s(0.0); N]; 3];
        for start in (0..matrix).step_by(lanes::<S>()) {
            let at = Layout {
                start,
                row: N * matrix,
                column: matrix,
            };
            let put = Layout {
                start,
                row: 3 * matrix,
                column: matrix,
            };
            transform::<S, KernelGrad<N>, N, 3>(
                simd,
                &mut half,
                (sums, at),
                (&mut gradients, put),
                (0..3, 3),
            );
        }
        gradients
    }
}
