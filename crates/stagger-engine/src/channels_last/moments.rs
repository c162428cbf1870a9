//! Sums per channel.

use pulp::{Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::parallel::{Parallel, part_len, spread};
use super::rows::{Aligned, Rows};

/// Mean and biased variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The mean, `[C]`.
    pub mean: Vec<f32>,
    /// The biased variance, `[C]`.
    pub variance: Vec<f32>,
}

/// Mean and biased variance of each channel, in one pass over memory: exact two-pass moments of each chunk, merged by
/// Chan et al.'s formula (1983, "Algorithms for Computing the Sample Variance"), which does not cancel.
///
/// # Panics
/// When there are no channels, or the last pixel is not whole.
pub fn moments<T: Element>(input: &[T], channels: usize, parallel: &dyn Parallel) -> Moments {
    let rows = Rows::of(channels);
    let arch = arch();
    let by_chunk = chunk_results(input, rows, 2 * channels, parallel, |input, results| {
        arch.dispatch(ChunkMoments {
            input,
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
        for channel in 0..channels {
            let delta = chunk_mean[channel] - mean[channel];
            mean[channel] += delta * count / total;
            squares[channel] += chunk_squares[channel] + delta * delta * seen * count / total;
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
    let arch = arch();
    let by_chunk = chunk_results(input, rows, channels, parallel, |input, results| {
        arch.dispatch(ChunkSums {
            input,
            results,
            rows,
        });
    });
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

/// `len` numbers per chunk; `work` gets several chunks and room for their results.
fn chunk_results<T: Element>(
    input: &[T],
    rows: Rows,
    len: usize,
    parallel: &dyn Parallel,
    work: impl Fn(&[T], &mut [f64]) + Sync,
) -> Vec<f64> {
    assert_eq!(input.len() % rows.channels(), 0, "whole pixels");
    let mut results = vec![0.0; input.len().div_ceil(rows.chunk()) * len];
    let part = part_len(input.len(), rows.chunk(), parallel);
    let room = results.chunks_mut(part / rows.chunk() * len);
    spread(
        input.chunks(part).zip(room),
        parallel,
        |(input, results)| {
            work(input, results);
        },
    );
    results
}

/// For each chunk the mean of each channel, then the sum of squares of the distances from it.
struct ChunkMoments<'a, T> {
    input: &'a [T],
    results: &'a mut [f64],
    rows: Rows,
}

impl<T: Element> WithSimd for ChunkMoments<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            input,
            results,
            rows,
        } = self;
        let channels = rows.channels();
        let mut row_sums = Aligned::zeros(rows.len());
        let mut centre = Aligned::zeros(rows.len());
        let mut wide = Aligned::zeros(rows.len());
        let results = results.chunks_exact_mut(2 * channels);
        for (chunk, results) in input.chunks(rows.chunk()).zip(results) {
            let (mean, squares) = results.split_at_mut(channels);
            add_rows(simd, chunk, &mut wide, &mut row_sums);
            rows.fold(&row_sums, mean);
            let count = (chunk.len() / channels) as f64;
            mean.iter_mut().for_each(|sum| *sum /= count);
            for pixel in centre.chunks_exact_mut(channels) {
                for (centre, &mean) in pixel.iter_mut().zip(&*mean) {
                    *centre = mean as f32;
                }
            }
            add_squares(simd, chunk, &centre, &mut wide, &mut row_sums);
            rows.fold(&row_sums, squares);
        }
    }
}

/// The sum of each channel, for each chunk.
struct ChunkSums<'a, T> {
    input: &'a [T],
    results: &'a mut [f64],
    rows: Rows,
}

impl<T: Element> WithSimd for ChunkSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut row_sums = Aligned::zeros(self.rows.len());
        let mut wide = row_sums.clone();
        let results = self.results.chunks_exact_mut(self.rows.channels());
        for (chunk, results) in self.input.chunks(self.rows.chunk()).zip(results) {
            add_rows(simd, chunk, &mut wide, &mut row_sums);
            self.rows.fold(&row_sums, results);
        }
    }
}

/// Sums rows; `sums` is overwritten, `wide` is scratch of the same length.
#[inline(always)]
fn add_rows<S: Simd, T: Element>(simd: S, values: &[T], wide: &mut [f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in values.chunks(sums.len()) {
        let row = T::widen(row, wide);
        let (heads, tail) = S::as_simd_f32s(row);
        let (sum_heads, sum_tail) = S::as_mut_simd_f32s(&mut sums[..row.len()]);
        for (sum, &value) in sum_heads.iter_mut().zip(heads) {
            *sum = simd.add_f32s(*sum, value);
        }
        for (sum, &value) in sum_tail.iter_mut().zip(tail) {
            *sum += value;
        }
    }
}

/// Sums squares of distances from a row of centres; `sums` is overwritten, `wide` is scratch of the same length.
#[inline(always)]
fn add_squares<S: Simd, T: Element>(
    simd: S,
    values: &[T],
    centre: &[f32],
    wide: &mut [f32],
    sums: &mut [f32],
) {
    sums.fill(0.0);
    for row in values.chunks(sums.len()) {
        let row = T::widen(row, wide);
        let (heads, tail) = S::as_simd_f32s(row);
        let (centres, centre_tail) = S::as_simd_f32s(&centre[..row.len()]);
        let (sum_heads, sum_tail) = S::as_mut_simd_f32s(&mut sums[..row.len()]);
        for ((sum, &value), &centre) in sum_heads.iter_mut().zip(heads).zip(centres) {
            let distance = simd.sub_f32s(value, centre);
            *sum = simd.add_f32s(*sum, simd.mul_f32s(distance, distance));
        }
        for ((sum, &value), &centre) in sum_tail.iter_mut().zip(tail).zip(centre_tail) {
            *sum += (value - centre) * (value - centre);
        }
    }
}
