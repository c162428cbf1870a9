//! How channels-last values are walked.

use std::ops::{Deref, DerefMut};

use pulp::Simd;

/// Values in a row: enough independent sums to keep the processor busy.
const ROW: usize = 256;
/// Values after which sums move on to `f64`: few enough to lose nothing, and to be in the first-level cache twice.
pub(super) const CHUNK: usize = 8192;

/// Rows of whole pixels, so that position `i` of every row belongs to channel `i % channels`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    channels: usize,
    len: usize,
}

impl Rows {
    /// # Panics
    /// When there are no channels.
    pub(super) fn of(channels: usize) -> Self {
        Self {
            channels,
            len: channels * (ROW / channels).max(1),
        }
    }

    pub(super) fn channels(self) -> usize {
        self.channels
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
    pub(super) fn repeat(self, by_channel: impl Iterator<Item = f32> + Clone) -> Aligned {
        let mut row = Aligned::zeros(self.len);
        for (position, value) in row.iter_mut().zip(by_channel.cycle()) {
            *position = value;
        }
        row
    }

    /// Adds a row of sums up by channel.
    #[inline(always)]
    pub(super) fn fold(self, row: &[f32], by_channel: &mut [f64]) {
        for values in row.chunks_exact(self.channels) {
            for (sum, &value) in by_channel.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    }
}

/// How many of `len` values whole vectors take.
#[inline(always)]
pub(super) fn in_vectors<S: Simd>(len: usize) -> usize {
    let lanes = size_of::<S::f32s>() / size_of::<f32>();
    len / lanes * lanes
}

/// Values that start at a cache line: a vector that straddles two costs two accesses.
#[derive(Debug)]
pub(super) struct Aligned {
    values: Vec<f32>,
    start: usize,
}

/// Bytes in a cache line and in the widest vector.
const LINE: usize = 64;

impl Aligned {
    pub(super) fn zeros(len: usize) -> Self {
        let slack = LINE / size_of::<f32>() - 1;
        let mut values = vec![0.0; len + slack];
        let start = values.as_ptr().align_offset(LINE).min(slack);
        values.truncate(start + len);
        Self { values, start }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..]
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}
