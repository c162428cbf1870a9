//! Why durations do not fit a pipeline.

use stagger_schedule::Replicas;

/// Why a profile says nothing about a pipeline.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PipelineError {
    /// Devices or links do not fit the stages.
    #[error(
        "the profile has {}; {} {}", counted(*found, what), of_stages(*stages), or_one(*expected)
    )]
    Count {
        /// `devices` or `links`.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// How many there have to be.
        expected: usize,
        /// Stages of the pipeline.
        stages: usize,
    },
    /// Devices do not fit stages with replicas.
    #[error(
        "the profile has {}; {} with {places} replicas in all {} {stages} or {places}, or one that counts for all",
        counted(*found, "devices"),
        counted(*stages, "stages"),
        if *stages == 1 { "needs" } else { "need" }
    )]
    Devices {
        /// How many it has.
        found: usize,
        /// Stages of the pipeline.
        stages: usize,
        /// Their replicas, all together.
        places: usize,
    },
    /// The cut is one of another schedule.
    #[error("the schedule has {}, and the cut {found}", counted(*expected, "stages"))]
    Stages {
        /// Of the schedule.
        expected: usize,
        /// Of the cut.
        found: usize,
    },
    /// Something takes longer in the mean than any time that can be given.
    #[error(
        "{what} would take {seconds:.3e} s, and at most a year is planned with; look at the batch size, the speeds of devices and links, and \
         the bytes of the profile"
    )]
    TooLong {
        /// What takes so long.
        what: String,
        /// In the mean.
        seconds: f64,
    },
    /// The cut is one of another model.
    #[error("the profile has {}, and the stages are cut from {expected}", counted(*found, "blocks"))]
    Blocks {
        /// Of the cut.
        expected: usize,
        /// Of the profile.
        found: usize,
    },
}

impl PipelineError {
    /// So many devices that are neither one, nor as many as stages or places.
    #[must_use]
    pub fn devices(found: usize, replicas: &Replicas) -> Self {
        let (stages, places) = (replicas.stages(), replicas.places());
        match replicas.any() {
            true => Self::Devices {
                found,
                stages,
                places,
            },
            false => Self::Count {
                what: "devices",
                found,
                expected: stages,
                stages,
            },
        }
    }
}

fn or_one(expected: usize) -> String {
    match expected {
        1 => "1".to_owned(),
        expected => format!("{expected}, or one that counts for all"),
    }
}

fn of_stages(stages: usize) -> String {
    match stages {
        1 => "1 stage needs".to_owned(),
        stages => format!("{stages} stages need"),
    }
}

/// `1 device`, `2 devices`: `nouns` is the plural.
pub(crate) fn counted(count: usize, nouns: &str) -> String {
    match count {
        1 => format!("1 {}", nouns.trim_end_matches('s')),
        _ => format!("{count} {nouns}"),
    }
}
