//! What can be wrong between the processes of a run.

use super::command_line::CommandDifference;
use crate::refusal::counted;

/// Why several processes cannot run together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// There are fewer stages than processes.
    #[error(
        "{} cannot be shared out over {ranks} processes: start {stages} of them, or ask for at least {ranks} stages",
        counted(*stages, "stage")
    )]
    TooFewStages {
        /// Stages.
        stages: usize,
        /// Processes.
        ranks: usize,
    },
    /// There are fewer replicas, of all stages together, than processes.
    #[error(
        "{} with {replicas} replicas {} {places} in all, which cannot be shared out over {ranks} processes: start {places} of them at most, or ask for more replicas",
        counted(*stages, "stage"),
        if *stages == 1 { "makes" } else { "make" }
    )]
    TooFewReplicas {
        /// Stages.
        stages: usize,
        /// Replicas of each, as they are asked for.
        replicas: String,
        /// Replicas of all stages.
        places: usize,
        /// Processes.
        ranks: usize,
    },
    /// A resumed run, which keeps its stages and replicas, has fewer of them than there are processes.
    #[error(
        "the run has {}{}, which cannot be shared out over {ranks} processes: start {places} of them at most",
        counted(*stages, "stage"),
        if stages == places { String::new() } else { format!(", with replicas {places} in all") }
    )]
    TooManyRanks {
        /// Stages.
        stages: usize,
        /// Replicas of all stages.
        places: usize,
        /// Processes.
        ranks: usize,
    },
    /// A transport within one process is asked for, and there are several.
    #[error(
        "transport {found} connects stages of one process, and this run has {ranks} processes; leave it out"
    )]
    Transport {
        /// What is asked for.
        found: String,
        /// Processes.
        ranks: usize,
    },
    /// A rank refuses the run, for example as its host has no data.
    #[error("rank {rank} on {host}: {sentence}")]
    Refused {
        /// The rank.
        rank: usize,
        /// Its host.
        host: String,
        /// What it says.
        sentence: String,
    },
    /// A rank has another program, or other data, than rank 0.
    #[error(
        "rank {rank} on {host} has another {what} than rank 0: {found}, and not {expected}; all ranks have to run the same program on the same data"
    )]
    Differs {
        /// The rank.
        rank: usize,
        /// Its host.
        host: String,
        /// What differs.
        what: &'static str,
        /// What rank 0 has.
        expected: String,
        /// What the rank has.
        found: String,
    },
    /// A rank was started with another command line than rank 0.
    #[error("rank {rank} on {host} {differs}; start all ranks with the same command line")]
    CommandLine {
        /// The rank.
        rank: usize,
        /// Its host.
        host: String,
        /// In what.
        differs: CommandDifference,
    },
    /// A message of the control lane cannot be written or read.
    #[error("a message between the processes of the run is not as expected: {what}")]
    Message {
        /// What is wrong with it.
        what: String,
    },
    /// Rank 0 has left.
    #[error("rank 0 has left without a word")]
    Left,
}

impl RanksError {
    /// The same for a run that is resumed: it cannot be asked for more.
    pub(crate) fn of_resumed(self) -> Self {
        match self {
            Self::TooFewStages { stages, ranks } => Self::TooManyRanks {
                stages,
                places: stages,
                ranks,
            },
            Self::TooFewReplicas {
                stages,
                places,
                ranks,
                ..
            } => Self::TooManyRanks {
                stages,
                places,
                ranks,
            },
            other => other,
        }
    }
}
