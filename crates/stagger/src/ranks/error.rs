//! What can be wrong between the processes of a run.

/// Why several processes cannot run together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RanksError {
    /// There are fewer stages than processes.
    #[error(
        "{stages} stages cannot be shared out over {ranks} processes: start {stages} of them, or ask for at least {ranks} stages"
    )]
    TooFewStages {
        /// Stages.
        stages: usize,
        /// Processes.
        ranks: usize,
    },
    /// There are fewer replicas, of all stages together, than processes.
    #[error(
        "{stages} stages with {replicas} replicas are {places} in all, which cannot be shared out over {ranks} processes: start {places} of them at most, or ask for more replicas"
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
