//! Sums per channel over channels-last memory.

use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::arch;
use super::memory::{row_major, sides, values};

/// Values in a row of the loops below: enough independent sums to keep the processor busy.
const ROW: usize = 256;
/// Values after which sums move on to `f64`: few enough to lose nothing, and to be in the first-level cache twice.
const CHUNK: usize = 8192;

/// How values are walked: in rows of whole pixels, so that position `i` of every row belongs to channel `i % channels`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    channels: usize,
    len: usize,
}

impl Rows {
    pub(super) fn of(channels: usize) -> Self {
        Self {
            channels,
            len: channels * (ROW / channels).max(1),
        }
    }

    /// Values in a row.
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// Values in a chunk: whole rows.
    pub(super) fn chunk(self) -> usize {
        self.len * (CHUNK / self.len).max(1)
    }

    /// One value per channel, repeated over a row.
    pub(super) fn repeat(self, by_channel: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
        by_channel.cycle().take(self.len).collect()
    }

    /// Adds a row of sums up by channel.
    pub(super) fn fold(self, row: &[f32], by_channel: &mut [f64]) {
        for values in row.chunks_exact(self.channels) {
            for (sum, &value) in by_channel.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    }
}

/// Mean and biased variance per channel, in one pass over memory: exact two-pass moments of each chunk, merged by
/// Chan et al.'s formula (1983, "Algorithms for Computing the Sample Variance"), which does not cancel.
#[inline(always)]
pub(super) fn moments(values: &[f32], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = Rows::of(channels);
    let mut mean = vec![0.0; channels];
    let mut squares = vec![0.0; channels];
    let mut seen = 0.0;
    let mut row_sums = vec![0.0_f32; rows.len()];
    let mut sums = vec![0.0_f64; channels];
    for chunk in values.chunks(rows.chunk()) {
        let count = (chunk.len() / channels) as f64;
        add_rows(chunk, &mut row_sums);
        sums.fill(0.0);
        rows.fold(&row_sums, &mut sums);
        let chunk_mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let centre = rows.repeat(chunk_mean.iter().map(|&mean| mean as f32));
        add_squares(chunk, &centre, &mut row_sums);
        sums.fill(0.0);
        rows.fold(&row_sums, &mut sums);
        let total = seen + count;
        for channel in 0..channels {
            let delta = chunk_mean[channel] - mean[channel];
            mean[channel] += delta * count / total;
            squares[channel] += sums[channel] + delta * delta * seen * count / total;
        }
        seen = total;
    }
    squares.iter_mut().for_each(|sum| *sum /= seen);
    (mean, squares)
}

/// The sum of each channel of a tensor that is channels-last, `[C]`.
pub(super) fn channel_sums(tensor: &FlexTensor) -> FlexTensor {
    let [_, channels, ..] = sides(tensor);
    let sums = arch().dispatch(ChannelSums {
        values: values(tensor),
        channels,
    });
    row_major(
        sums.into_iter().map(|sum| sum as f32).collect(),
        &[channels],
    )
}

struct ChannelSums<'a> {
    values: &'a [f32],
    channels: usize,
}

impl WithSimd for ChannelSums<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        let rows = Rows::of(self.channels);
        let mut row_sums = vec![0.0; rows.len()];
        let mut sums = vec![0.0; self.channels];
        for chunk in self.values.chunks(rows.chunk()) {
            add_rows(chunk, &mut row_sums);
            rows.fold(&row_sums, &mut sums);
        }
        sums
    }
}

/// Sums rows; `sums` is overwritten.
#[inline(always)]
fn add_rows(values: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in values.chunks(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

/// Sums squares of distances from a row of centres; `sums` is overwritten.
#[inline(always)]
fn add_squares(values: &[f32], centre: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in values.chunks(sums.len()) {
        for ((sum, &value), &centre) in sums.iter_mut().zip(row).zip(centre) {
            *sum += (value - centre) * (value - centre);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_far_away_mean() {
        for channels in [1, 3, 16, 300] {
            let pixels = 40_000 / channels + 1;
            let at = |pixel: usize, channel: usize| {
                1000.0 + ((pixel * 7 + channel * 13) % 11) as f32 * 0.125
            };
            let values: Vec<f32> = (0..pixels * channels)
                .map(|index| at(index / channels, index % channels))
                .collect();
            let (mean, variance) = moments(&values, channels);
            for channel in 0..channels {
                let each = || (0..pixels).map(|pixel| f64::from(at(pixel, channel)));
                let expected = each().sum::<f64>() / pixels as f64;
                let square = each().map(|value| (value - expected).powi(2)).sum::<f64>();
                assert!((mean[channel] - expected).abs() < 1e-5);
                assert!((variance[channel] - square / pixels as f64).abs() < 1e-6);
            }
        }
    }
}
