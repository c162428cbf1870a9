//! A [`Duration`] as a JSON number of seconds.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Longer than any run: some thirty thousand years. Sums of what a file says stay far from where a [`Duration`] ends.
const MOST_SECONDS: f64 = 1e12;

pub(crate) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if seconds > MOST_SECONDS {
        return Err(D::Error::custom(format!(
            "{seconds:e} seconds; expected at most {MOST_SECONDS:e}"
        )));
    }
    Duration::try_from_secs_f64(seconds).map_err(D::Error::custom)
}
