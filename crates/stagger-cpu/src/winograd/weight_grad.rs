//! The gradient of the weight: the transposed formula, its sums running over tiles.

use pulp::{Simd, WithSimd};

use super::tiling::{Input, KernelGrad, Layout, OutputGrad, Transform, scatter, transform};
use super::{Grid, Tile, spaced};
use crate::channels_last::arch;
use crate::microkernel::{lanes, taps, vectors};
use crate::padded::{Frame, Framed};

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
    pub(crate) fn run(self, tile: Tile) -> Vec<f32> {
        match tile {
            Tile::Two => arch().dispatch(Tiled::<4, 2>(self)),
            Tile::Four => arch().dispatch(Tiled::<6, 4>(self)),
        }
    }
}

/// Tiles that are transformed before their sums are made: enough to pay for loading the sums.
const TILES: usize = 64;

struct Tiled<'a, const N: usize, const M: usize>(WeightGrad<'a>);

impl<const N: usize, const M: usize> WithSimd for Tiled<'_, N, M>
where
    Input<N>: Transform<N, N>,
    OutputGrad<N>: Transform<M, N>,
    KernelGrad<N>: Transform<N, 3>,
{
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self(all) = self;
        let (channels, outputs) = (all.frame.channels, all.outputs);
        let (height, width) = (all.frame.full_height - 2, all.frame.full_width - 2);
        let (rows, columns) = (height.div_ceil(M), width.div_ceil(M));
        let frame = Frame {
            full_height: rows * M + 2,
            full_width: columns * M + 2,
            ..all.frame
        };
        let grid = Grid::new(&frame, (rows, columns), M, TILES, all.samples);
        let grad_frame = Frame {
            channels: outputs,
            height,
            width,
            top: 0,
            left: 0,
            full_height: rows * M,
            full_width: columns * M,
        };
        let grad_grid = Grid::new(&grad_frame, (rows, columns), M, TILES, all.samples);

        let (spacing, grad_spacing) = (spaced(TILES * channels), spaced(TILES * outputs));
        let mut tiles = vec![0.0; N * N * spacing];
        let mut grad_tiles = vec![0.0; N * N * grad_spacing];
        let mut sums = vec![0.0; N * N * channels * outputs];
        let tile_starts: Vec<usize> = (0..TILES).map(|tile| tile * channels).collect();
        let (mut framed, mut framed_grads) = (
            Framed::new(frame, grid.samples),
            Framed::new(grad_frame, grid.samples),
        );
        let image_len = frame.height * frame.width * channels;
        let images = all.input.chunks((grid.samples * image_len).max(1));
        let grads = all
            .output_grad
            .chunks((grid.samples * height * width * outputs).max(1));
        for (images, grads) in images.zip(grads) {
            let (input, grads) = (framed.set(images), framed_grads.set(grads));
            let count = images.len() / image_len * rows * columns;
            let starts = grid.starts[..count].chunks(TILES);
            for (starts, grad_starts) in starts.zip(grad_grid.starts[..count].chunks(TILES)) {
                scatter::<S, Input<N>, N, N>(
                    simd,
                    input,
                    starts,
                    (frame.pitch(), channels),
                    spacing,
                    &mut tiles,
                );
                let pitch = grad_frame.pitch();
                scatter::<S, OutputGrad<N>, M, N>(
                    simd,
                    grads,
                    grad_starts,
                    (pitch, outputs),
                    grad_spacing,
                    &mut grad_tiles,
                );
                for (position, sums) in sums.chunks_exact_mut(channels * outputs).enumerate() {
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
        kernel_grads::<S, N>(simd, &sums, channels, outputs)
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
#[inline(always)]
fn kernel_grads<S: Simd, const N: usize>(
    simd: S,
    sums: &[f32],
    channels: usize,
    outputs: usize,
) -> Vec<f32>
where
    KernelGrad<N>: Transform<N, 3>,
{
    let matrix = channels * outputs;
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
            (3, 3),
        );
    }
    gradients
}
