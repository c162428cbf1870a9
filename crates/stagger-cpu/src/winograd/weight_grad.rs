//! The gradient of the weight: the transposed formula, its sums running over tiles.

use pulp::{Simd, WithSimd};

use super::tiling::{Input, KernelGrad, Layout, OutputGrad, Transform, scatter, transform};
use super::{Grid, Tile, spaced};
use crate::channels_last::{arch, spread};
use crate::microkernel::{lanes, taps, vectors};
use crate::padded::{Frame, Framed};
use crate::threads::{Threads, parts};

/// The gradient of a 3×3 kernel of stride 1; channels and outputs as [`super::tile`] asks for.
pub(crate) struct WeightGrad<'a> {
    pub input: &'a [f32],
    pub output_grad: &'a [f32],
    pub samples: usize,
    /// Where an input lies between its zeros.
    pub frame: Frame,
    pub outputs: usize,
}

/// Tiles that are transformed before their sums are made: enough to pay for loading the sums.
const TILES: usize = 64;

/// Products of channels and outputs below which threads transform several times as many tiles before they meet.
const SHORT: usize = 8192;

impl WeightGrad<'_> {
    /// Sums by (kernel row, kernel column, input channel, output channel).
    pub(crate) fn run(self, tile: Tile) -> Vec<f32> {
        match tile {
            Tile::Two => self.sums::<4, 2>(),
            Tile::Four => self.sums::<6, 4>(),
        }
    }

    /// Threads take tiles to transform them, and then positions to add their products up: each sum takes its tiles in order, however
    /// many threads there are.
    fn sums<const N: usize, const M: usize>(&self) -> Vec<f32>
    where
        Input<N>: Transform<N, N>,
        OutputGrad<N>: Transform<M, N>,
        KernelGrad<N>: Transform<N, 3>,
    {
        let arch = arch();
        let (channels, outputs) = (self.frame.channels, self.outputs);
        let (height, width) = (self.frame.full_height - 2, self.frame.full_width - 2);
        let (rows, columns) = (height.div_ceil(M), width.div_ceil(M));
        let frame = Frame {
            full_height: rows * M + 2,
            full_width: columns * M + 2,
            ..self.frame
        };
        let grad_frame = Frame {
            channels: outputs,
            height,
            width,
            top: 0,
            left: 0,
            full_height: rows * M,
            full_width: columns * M,
        };
        let matrix = channels * outputs;
        let threads = parts(self.samples * rows * columns * N * N * matrix);
        let each = match threads {
            1 => 1,
            _ => (SHORT / matrix.max(1)).clamp(1, 4),
        };
        let tiles = TILES * each * threads;
        let grid = Grid::new(&frame, (rows, columns), M, tiles, self.samples);
        let grad_grid = Grid::new(&grad_frame, (rows, columns), M, tiles, self.samples);

        let mut chunks = Vec::new();
        chunks.resize_with(each * threads, || Chunk::new(N * N, channels, outputs));
        let mut sums = vec![0.0; N * N * matrix];
        let (mut framed, mut framed_grads) = (
            Framed::new(frame, grid.samples),
            Framed::new(grad_frame, grid.samples),
        );
        let image_len = frame.height * frame.width * channels;
        let images = self.input.chunks((grid.samples * image_len).max(1));
        let grads = self
            .output_grad
            .chunks((grid.samples * height * width * outputs).max(1));
        for (images, grads) in images.zip(grads) {
            let count = images.len() / image_len * rows * columns;
            let input = framed.set_by(images, &Threads);
            let grads = framed_grads.set_by(grads, &Threads);
            let starts = grid.starts[..count].chunks(tiles);
            for (starts, grad_starts) in starts.zip(grad_grid.starts[..count].chunks(tiles)) {
                let some = starts.chunks(TILES * each);
                let some = some.zip(grad_starts.chunks(TILES * each));
                let jobs = chunks.chunks_mut(each).zip(some);
                spread(jobs, &Threads, |(chunks, (starts, grad_starts))| {
                    arch.dispatch(Transformed::<N, M> {
                        input: (input, starts, &frame),
                        grads: (grads, grad_starts, &grad_frame),
                        chunks,
                    });
                });
                let filled = &chunks[..starts.len().div_ceil(TILES)];
                let positions = (N * N).div_ceil(threads);
                let jobs = sums.chunks_mut((positions * matrix).max(1)).enumerate();
                spread(jobs, &Threads, |(index, sums)| {
                    arch.dispatch(Add {
                        chunks: filled,
                        first: index * positions,
                        channels,
                        outputs,
                        sums,
                    });
                });
            }
        }
        arch.dispatch(KernelGrads::<N> {
            sums: &sums,
            channels,
            outputs,
        })
    }
}

/// Some tiles, transformed.
struct Chunk {
    /// Position by position, `spacing` values apart, a row of channels per tile.
    tiles: Vec<f32>,
    spacing: usize,
    /// The same of the output's gradient.
    grad_tiles: Vec<f32>,
    grad_spacing: usize,
    /// Where the rows of the tiles start.
    starts: Vec<usize>,
    /// How many tiles there are.
    len: usize,
}

impl Chunk {
    fn new(positions: usize, channels: usize, outputs: usize) -> Self {
        let (spacing, grad_spacing) = (spaced(TILES * channels), spaced(TILES * outputs));
        Self {
            tiles: vec![0.0; positions * spacing],
            spacing,
            grad_tiles: vec![0.0; positions * grad_spacing],
            grad_spacing,
            starts: (0..TILES).map(|tile| tile * channels).collect(),
            len: 0,
        }
    }
}

/// Framed memory, where tiles start in it, and how it lies.
type Tiles<'a> = (&'a [f32], &'a [usize], &'a Frame);

/// Fills chunks with the tiles that start there, in order.
struct Transformed<'a, const N: usize, const M: usize> {
    input: Tiles<'a>,
    grads: Tiles<'a>,
    chunks: &'a mut [Chunk],
}

impl<const N: usize, const M: usize> WithSimd for Transformed<'_, N, M>
where
    Input<N>: Transform<N, N>,
    OutputGrad<N>: Transform<M, N>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            input: (input, starts, frame),
            grads: (grads, grad_starts, grad_frame),
            chunks,
        } = self;
        let starts = starts.chunks(TILES).zip(grad_starts.chunks(TILES));
        for (chunk, (starts, grad_starts)) in chunks.iter_mut().zip(starts) {
            chunk.len = starts.len();
            let lines = (frame.pitch(), frame.channels);
            let (spacing, tiles) = (chunk.spacing, &mut chunk.tiles);
            scatter::<S, Input<N>, N, N>(simd, input, starts, lines, spacing, tiles);
            let lines = (grad_frame.pitch(), grad_frame.channels);
            let (spacing, tiles) = (chunk.grad_spacing, &mut chunk.grad_tiles);
            scatter::<S, OutputGrad<N>, M, N>(simd, grads, grad_starts, lines, spacing, tiles);
        }
    }
}

/// Adds the products of chunks to the sums of some positions.
struct Add<'a> {
    chunks: &'a [Chunk],
    /// The first position.
    first: usize,
    channels: usize,
    outputs: usize,
    /// Position by position, channels by outputs.
    sums: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let matrices = self.sums.chunks_exact_mut(self.channels * self.outputs);
        for (position, sums) in (self.first..).zip(matrices) {
            for chunk in self.chunks {
                let matrix = Matrix {
                    tiles: &chunk.tiles[position * chunk.spacing..][..chunk.spacing],
                    starts: &chunk.starts[..chunk.len],
                    grads: &chunk.grad_tiles[position * chunk.grad_spacing..][..chunk.grad_spacing],
                    outputs: self.outputs,
                };
                matrix.add(simd, sums, self.channels);
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
    channels: usize,
    outputs: usize,
}

impl<const N: usize> WithSimd for KernelGrads<'_, N>
where
    KernelGrad<N>: Transform<N, 3>,
{
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self {
            sums,
            channels,
            outputs,
        } = self;
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
}
