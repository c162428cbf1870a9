//! When a run takes snapshots, and what it does when it goes wrong.

use std::str::FromStr;
use std::time::Duration;

use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// When snapshots are taken, besides the end of every epoch and of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// A snapshot every so many batches.
    pub batches: Option<usize>,
    /// A snapshot whenever so much time has passed.
    pub interval: Option<Duration>,
}

/// Reads the rhythm: a number of batches, a time such as 90s, 10min or 2h, or both.
///
/// # Errors
/// A [`Refusal`] of the value that is neither, or of the second of a kind.
pub fn rhythm(values: &TrainingOptions) -> Result<Rhythm, Refusal> {
    let mut rhythm = Rhythm::default();
    for text in values.snapshot_every.iter().flatten() {
        let taken = if let Ok(batches) = usize::from_str(text.trim()) {
            if batches == 0 {
                return Err(Refusal::SnapshotEveryZero);
            }
            rhythm.batches.replace(batches).is_some()
        } else {
            rhythm.interval.replace(duration(text)?).is_some()
        };
        if taken {
            return Err(Refusal::SnapshotEveryTwice {
                found: text.clone(),
            });
        }
    }
    Ok(rhythm)
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let seconds_per_unit = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => 0.0,
    };
    let number = text[..text.len() - unit.len()].parse::<f64>();
    let seconds = number.unwrap_or_default() * seconds_per_unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Refusal::SnapshotEvery {
            found: text.to_owned(),
        }),
    }
}

/// What a run does when the loss of a batch is not a finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNan {
    /// It ends.
    #[default]
    Stop,
    /// It leaves that batch out.
    Skip,
    /// It goes back to the last snapshot, with half the learning rate.
    Rollback,
}

/// Reads what to do about a loss that is not finite.
///
/// # Errors
/// [`Refusal::Choice`] with the choices.
pub fn on_nan(values: &TrainingOptions) -> Result<OnNan, Refusal> {
    Ok(match values.on_nan.as_deref().unwrap_or("stop") {
        "stop" => OnNan::Stop,
        "skip" => OnNan::Skip,
        "rollback" => OnNan::Rollback,
        other => {
            return Err(Refusal::Choice {
                option: "on_nan",
                found: other.to_owned(),
                expected: "stop, skip or rollback",
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Rhythm, String> {
        let values = TrainingOptions {
            snapshot_every: Some(texts.iter().map(|&text| text.to_owned()).collect()),
            ..TrainingOptions::default()
        };
        rhythm(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn batches_and_times() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        for (texts, batches, interval) in [
            (&["500"][..], Some(500), None),
            (&["90s"], None, seconds(90.0)),
            (&["1.5 min", "20"], Some(20), seconds(90.0)),
            (&["2h"], None, seconds(7200.0)),
            (&[], None, None),
        ] {
            assert_eq!(read(texts), Ok(Rhythm { batches, interval }), "{texts:?}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "0",
            "0s",
            "ten",
            "5 parsecs",
            "-3",
            "1e400s",
            "min",
            "",
            ".",
        ] {
            assert!(read(&[text]).is_err(), "{text}");
        }
        let error = read(&["10", "20"]).unwrap_err();
        assert!(error.contains("the second of its kind"), "{error}");
    }
}
