//! Some neighbouring channels of every pixel.

use super::element::Element;
use super::parallel::{Parallel, part_len, spread};

/// Which channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Channels of a whole pixel.
    pub pixel: usize,
    /// The first of the run.
    pub first: usize,
    /// How many they are.
    pub len: usize,
}

impl Run {
    /// # Panics
    /// When the run is empty or reaches beyond the pixel, or lengths do not match.
    fn check(self, whole: usize, part: usize) {
        let Self { pixel, first, len } = self;
        assert!(len > 0 && first + len <= pixel, "{self:?}");
        assert_eq!(whole * len, part * pixel, "the run of all pixels");
    }
}

/// `[N, H, W, pixel]` to `[N, H, W, len]`; what `to` held before is not read.
///
/// # Panics
/// When the run is empty or reaches beyond the pixel, or lengths do not match.
pub fn take_run<T: Element>(from: &[T], run: Run, to: &mut [T], parallel: &dyn Parallel) {
    run.check(from.len(), to.len());
    let part = part_len(to.len(), run.len, parallel);
    let jobs = from
        .chunks(part / run.len * run.pixel)
        .zip(to.chunks_mut(part));
    spread(jobs, parallel, |(from, to)| {
        let pixels = from.chunks_exact(run.pixel);
        for (from, to) in pixels.zip(to.chunks_exact_mut(run.len)) {
            to.copy_from_slice(&from[run.first..][..run.len]);
        }
    });
}

/// `[N, H, W, len]` into `[N, H, W, pixel]`, whose other channels stay as they are.
///
/// # Panics
/// When the run is empty or reaches beyond the pixel, or lengths do not match.
pub fn put_run<T: Element>(from: &[T], run: Run, to: &mut [T], parallel: &dyn Parallel) {
    run.check(to.len(), from.len());
    let part = part_len(from.len(), run.len, parallel);
    let jobs = from
        .chunks(part)
        .zip(to.chunks_mut(part / run.len * run.pixel));
    spread(jobs, parallel, |(from, to)| {
        let pixels = to.chunks_exact_mut(run.pixel);
        for (from, to) in from.chunks_exact(run.len).zip(pixels) {
            to[run.first..][..run.len].copy_from_slice(from);
        }
    });
}
