//! Where the durations of a run come from that is simulated or emulated: a profile, or a text.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use stagger_data::shown_text;
use stagger_model::{Cut, Model};
use stagger_plan::{
    Distribution, DistributionError, MOST_SAMPLES, Pipeline, PipelineError, Profile,
};
use stagger_schedule::{Replicas, Schedule};

use crate::balance::{ProfileMisfit, read_profile};
use crate::model_file::of_profile;
use crate::refusal::Refusal;

/// What stands before a time that all stages take.
const EQUAL: &str = "equal:";

/// What is said of durations: the path of a profile, or `equal:40ms` for stages that all take as long for a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationsChoice {
    /// Every stage takes this many seconds for a batch.
    Equal(f64),
    /// The file of a profile.
    File(PathBuf),
}

/// Durations that were read.
#[derive(Clone, Debug, PartialEq)]
pub enum Durations {
    /// Every stage takes this many seconds for a batch.
    Equal(f64),
    /// What a profile says.
    Profile(Box<Profile>),
}

/// Why there are no durations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurationsError {
    /// The time behind `equal:` is none.
    #[error("`{EQUAL}` needs one time, as in `{EQUAL}40ms`: {source}")]
    Equal {
        /// Why it is none.
        source: DistributionError,
    },
    /// It takes no time, or a random one.
    #[error(
        "`{EQUAL}{}` is no time above 0 that is always the same; a right one is `{EQUAL}40ms`",
        shown_text(found)
    )]
    EqualValue {
        /// What was given.
        found: String,
    },
    /// The file is no profile, or one of something else.
    #[error(transparent)]
    Profile(#[from] ProfileMisfit),
    /// Nothing that is simulated takes any time.
    #[error(
        "{} takes no time, and so there is no rate to tell; give the blocks or the links times above 0",
        shown_text(what)
    )]
    NoTime {
        /// What takes none.
        what: String,
    },
    /// It does not fit the stages.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

/// Makes sure that a batch has samples, and no more than can be shared out.
///
/// # Errors
/// [`Refusal::Zero`], [`Refusal::Value`].
pub(crate) fn check_batch_size(found: usize) -> Result<(), Refusal> {
    let option = "batch_size";
    match found {
        0 => Err(Refusal::Zero { option }),
        1..=MOST_SAMPLES => Ok(()),
        _ => Err(Refusal::Value {
            option,
            found: found.to_string(),
            kind: "a batch size",
            expected: "at most 4294967295",
        }),
    }
}

/// Makes sure that a time is one that a text or a file could have said: those have been checked when they were read.
///
/// # Errors
/// [`Refusal::Value`].
pub(crate) fn check_time(
    option: &'static str,
    found: Option<&Distribution>,
) -> Result<(), Refusal> {
    match found {
        None => Ok(()),
        Some(Distribution::Sum(parts)) => parts
            .iter()
            .try_for_each(|part| check_time(option, Some(part))),
        Some(time) if time.can_be_written() => Ok(()),
        Some(time) => Err(Refusal::Value {
            option,
            found: match time {
                Distribution::Constant(seconds) => format!("{seconds} s"),
                Distribution::Samples(times) => format!("of {} measured times", times.len()),
                other => format!("{other:?}"),
            },
            kind: "a time",
            expected: "one between 0 s and a day",
        }),
    }
}

impl FromStr for DurationsChoice {
    type Err = DurationsError;

    fn from_str(text: &str) -> Result<Self, DurationsError> {
        let Some(time) = text.strip_prefix(EQUAL) else {
            return Ok(Self::File(text.into()));
        };
        match time.parse() {
            Ok(Distribution::Constant(seconds)) if seconds > 0.0 => Ok(Self::Equal(seconds)),
            Ok(_) => Err(DurationsError::EqualValue {
                found: time.to_owned(),
            }),
            Err(source) => Err(DurationsError::Equal { source }),
        }
    }
}

impl DurationsChoice {
    /// Reads the profile, where there is one.
    ///
    /// # Errors
    /// [`DurationsError::Profile`].
    pub fn read(&self) -> Result<Durations, DurationsError> {
        Ok(match self {
            Self::Equal(seconds) => Durations::Equal(*seconds),
            Self::File(path) => Durations::Profile(Box::new(read_profile(path)?)),
        })
    }
}

impl DurationsError {
    /// The same, with the name of the profile that does not fit the stages.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Pipeline(source) => {
                let path = path.to_owned();
                Self::Profile(ProfileMisfit::Devices { path, source })
            }
            other => other,
        }
    }
}

impl Durations {
    /// The model that was measured, by the profile in this file.
    ///
    /// # Errors
    /// When this version knows no such model, or not with these images.
    pub fn model(&self, path: &Path) -> Result<Option<Model>, DurationsError> {
        match self {
            Self::Equal(_) => Ok(None),
            Self::Profile(profile) => Ok(Some(of_profile(profile, path)?)),
        }
    }

    /// What stages take, for batches of `batch_size`; those of a profile's samples where that is not said. Replicas of equal stages
    /// share batches out evenly where it is not, and sum their gradients up in no time.
    ///
    /// # Errors
    /// [`DurationsError::Pipeline`].
    pub fn pipeline(
        &self,
        stages: &Stages<'_>,
        batch_size: Option<usize>,
    ) -> Result<Pipeline, DurationsError> {
        let Stages {
            schedule,
            replicas,
            cut,
        } = *stages;
        let micro_batches = schedule.micro_batches();
        Ok(match self {
            Self::Equal(seconds) => {
                let samples = batch_size.map(|size| size.div_ceil(micro_batches));
                Pipeline::equal(schedule, seconds / micro_batches as f64)
                    .shared_out(replicas, samples)
            }
            Self::Profile(profile) => {
                let batch_size = batch_size.unwrap_or(profile.samples);
                let samples = batch_size.div_ceil(micro_batches);
                let cut = cut.map(Cut::stages).unwrap_or_default();
                Pipeline::of_replicas(profile, schedule, replicas, cut, samples)?
            }
        })
    }
}

/// The stages that durations are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Stages<'a> {
    /// The method on its stages.
    pub schedule: &'a Schedule,
    /// Copies of each stage.
    pub replicas: &'a Replicas,
    /// How a profile's blocks are cut; nothing else needs that.
    pub cut: Option<&'a Cut>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_a_path_are_told_apart() {
        let read = |text: &str| text.parse::<DurationsChoice>();
        assert_eq!(read("equal:40ms").unwrap(), DurationsChoice::Equal(0.04));
        assert_eq!(
            read("a/b.json").unwrap(),
            DurationsChoice::File("a/b.json".into())
        );
        for wrong in ["equal:", "equal:x", "equal:0ms", "equal:exponential(3ms)"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("equal:40ms"), "{error}");
        }
    }
}
