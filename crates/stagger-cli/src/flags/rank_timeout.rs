//! How long a rank of several may be silent.

use std::time::Duration;

/// The least that a rank may be silent, but for 0: ranks hear of each other once a second, and later where a host is busy.
const LEAST_RANK_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads how long a rank may be silent.
pub(super) fn rank_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let read = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let limit = read.ok_or("a number of seconds is expected, or 0")?;
    match limit.is_zero() || limit >= LEAST_RANK_TIMEOUT {
        true => Ok(limit),
        false => Err("ranks hear of each other once a second; give at least 3 seconds, or 0 to wait for ever".to_owned()),
    }
}
