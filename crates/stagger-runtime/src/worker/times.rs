//! Where the time of an action goes besides computing.

use std::time::{Duration, Instant};

use crate::event::Waits;

/// Sums over one action.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// Waiting.
    pub waits: Waits,
    /// Bringing inputs to the device.
    pub transfer: Duration,
    /// Sleeping as a straggler.
    pub delayed: Duration,
}

/// Adds the time of `work` to `account`.
pub(super) fn timed<R>(account: &mut Duration, work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    *account += start.elapsed();
    result
}
