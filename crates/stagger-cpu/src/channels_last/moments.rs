//! Sums per channel.

use pulp::{Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::operands::Operands;
use super::parallel::Parallel;
use super::rows::Rows;
use super::walk::{Formula, RowSums, by_chunk, walk, walk_chunk};

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The mean, `[C]`.
    pub mean: Vec<f32>,
    /// The biased variance, `[C]`.
    pub variance: Vec<f32>,
}

/// Mean and biased variance of each channel, in one pass over memory. A chunk's sums are taken of the distances from the
/// mean of its first row, and chunks are merged by Chan et al.'s formula (1983, "Algorithms for Computing the Sample
/// Variance"), which does not cancel. Within a chunk at most 7 of 24 bits can: were the first row far off, with a
/// 128th of the chunk's pixels it would make up most of the variance itself.
///
/// # Panics
/// When there are no channels, or the last pixel is not whole.
pub fn moments<T: Element>(input: &[T], channels: usize, parallel: &dyn Parallel) -> Moments {
    let rows = Rows::of(channels);
    assert_eq!(input.len() % channels, 0, "whole pixels");
    let arch = arch();
    let operands = Operands::<_, T, 0>::new(input, []);
    let by_chunk = by_chunk(operands, rows, 2, parallel, |operands, results| {
        arch.dispatch(ChunkMoments {
            operands,
            results,
            rows,
        });
    });

    let mut mean = vec![0.0; channels];
    let mut squares = vec![0.0; channels];
    let mut seen = 0.0;
    let chunks = input.chunks(rows.chunk());
    for (chunk, results) in chunks.zip(by_chunk.chunks_exact(2 * channels)) {
        let (chunk_mean, chunk_squares) = results.split_at(channels);
        let count = (chunk.len() / channels) as f64;
        let total = seen + count;
        let (share, weight) = (count / total, seen * count / total);
        let merged = mean.iter_mut().zip(&mut squares);
        for ((mean, squares), (chunk_mean, chunk_squares)) in
            merged.zip(chunk_mean.iter().zip(chunk_squares))
        {
            let delta = chunk_mean - *mean;
            *mean += delta * share;
            *squares += chunk_squares + delta * delta * weight;
        }
        seen = total;
    }
    Moments {
        mean: mean.iter().map(|&mean| mean as f32).collect(),
        variance: squares.iter().map(|sum| (sum / seen) as f32).collect(),
    }
}

/// The sum of each channel, `[C]`.
///
/// # Panics
/// When there are no channels, or the last pixel is not whole.
pub fn channel_sums<T: Element>(input: &[T], channels: usize, parallel: &dyn Parallel) -> Vec<f32> {
    let rows = Rows::of(channels);
    assert_eq!(input.len() % channels, 0, "whole pixels");
    let operands = Operands::<_, T, 0>::new(input, []);
    let by_chunk = walk(Plain, rows, [], operands, parallel);
    let sums = in_order(&by_chunk, channels);
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// Adds up what the chunks gave, `len` numbers each, first chunk first.
pub(super) fn in_order(by_chunk: &[f64], len: usize) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for results in by_chunk.chunks_exact(len) {
        for (sum, result) in sums.iter_mut().zip(results) {
            *sum += result;
        }
    }
    sums
}

/// For each chunk the mean of each channel, then the sum of squares of the distances from it.
struct ChunkMoments<'a, T> {
    operands: Operands<'a, &'a [T], T, 0>,
    results: &'a mut [f64],
    rows: Rows,
}

impl<T: Element> WithSimd for ChunkMoments<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            mut operands,
            results,
            rows,
        } = self;
        let (input, channels) = (operands.first, rows.channels());
        let mut sums = RowSums::of(rows);
        let mut centre = vec![0.0; rows.len()];
        let starts = (0..input.len()).step_by(rows.chunk());
        for (start, results) in starts.zip(results.chunks_exact_mut(2 * channels)) {
            let range = start..input.len().min(start + rows.chunk());
            let row = &input[start..range.end.min(start + rows.len())];
            first_mean(row, channels, &mut centre);
            let parameters = [&centre[..]];
            walk_chunk(
                simd,
                Distances,
                parameters,
                &mut operands,
                range.clone(),
                &mut sums,
            );
            sums.fold(results);
            let count = (range.len() / channels) as f64;
            let (mean, squares) = results.split_at_mut(channels);
            for ((mean, squares), &centre) in mean.iter_mut().zip(squares).zip(&centre) {
                let distance = *mean / count;
                let rest = *squares - *mean * distance;
                // Rounding must not make it negative; NaN stays.
                *squares = if rest < 0.0 { 0.0 } else { rest };
                *mean = f64::from(centre) + distance;
            }
        }
    }
}

/// The mean of each channel over a row, about exact, at every position.
#[inline(always)]
fn first_mean<T: Element>(row: &[T], channels: usize, mean: &mut [f32]) {
    let (first, rest) = mean.split_at_mut(channels);
    first.fill(0.0);
    for pixel in row.chunks_exact(channels) {
        for (sum, value) in first.iter_mut().zip(pixel) {
            *sum += value.to_f32();
        }
    }
    let factor = channels as f32 / row.len() as f32;
    first.iter_mut().for_each(|sum| *sum *= factor);
    for pixel in rest.chunks_exact_mut(channels) {
        pixel.copy_from_slice(first);
    }
}

/// Sums distances from the parameter, and their squares.
#[derive(Clone, Copy)]
struct Distances;

impl Formula<0, 1, 2> for Distances {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        [centre]: [S::f32s; 1],
        value: S::f32s,
        []: [S::f32s; 0],
        sums: &mut [S::f32s; 2],
    ) -> S::f32s {
        let distance = simd.sub_f32s(value, centre);
        sums[0] = simd.add_f32s(sums[0], distance);
        sums[1] = simd.add_f32s(sums[1], simd.mul_f32s(distance, distance));
        distance
    }
}

/// Sums values.
#[derive(Clone, Copy)]
struct Plain;

impl Formula<0, 0, 1> for Plain {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        value: S::f32s,
        []: [S::f32s; 0],
        sums: &mut [S::f32s; 1],
    ) -> S::f32s {
        sums[0] = simd.add_f32s(sums[0], value);
        value
    }
}
