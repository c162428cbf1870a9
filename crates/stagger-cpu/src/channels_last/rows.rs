//! How channels-last values are walked.

/// Values in a row, or a divisor: as many as the registers hold sums of ([`super::walk`]).
const ROW: usize = 64;
/// More values than this a row has only if a pixel has.
const LONGEST: usize = 512;
/// Values after which sums move on to `f64`: few enough to lose nothing.
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
        let divisor = 1 << channels.trailing_zeros().min(ROW.trailing_zeros());
        let whole = channels * (ROW / divisor);
        let len = if whole <= LONGEST {
            whole
        } else {
            channels * (ROW / channels).max(1)
        };
        Self { channels, len }
    }

    /// For formulas that are the same at every position.
    pub(super) fn any() -> Self {
        Self::of(ROW)
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
    pub(super) fn repeat(self, by_channel: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
        by_channel.cycle().take(self.len).collect()
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
