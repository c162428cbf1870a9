//! A run at one version, with what is in flight: all that it needs to resume as if it had never stopped
//! (docs/algorithm.md, "Facts" 4).

use std::ops::Range;

use serde::{Deserialize, Serialize};
use stagger_engine::{HostTensor, StageState};
use stagger_schedule::Schedule;

/// One stage, right after update `version − 1`. The running statistics in the state are the mean of those of its replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSnapshot {
    /// Parameters, running statistics and optimizer state.
    pub state: StageState,
    /// The rest of the stage's state, and its batches in flight. With several replicas it is that of the first one.
    pub pipeline: PipelineState,
    /// The same of the other replicas, from the second one on, without weights: those of replicas are equal, as is their optimizer
    /// state.
    pub replicas: Vec<PipelineState>,
}

/// What a stage holds at a version besides its state. All lists are oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PipelineState {
    /// Micro-batches that have been forwarded and not yet pulled back.
    pub kept: Vec<KeptPass>,
    /// Outputs that the stage above may not have received yet. It knows which of them it has.
    pub sent_up: Vec<Sent>,
    /// Gradients that the stage below has not learned from yet, where it has a synthesizer.
    pub sent_down: Vec<Sent>,
    /// The weights before the last update, where forwards need them.
    pub previous_weights: Option<Vec<HostTensor>>,
    /// Mean length of the last updates, where gradients are damped by it.
    pub mean_step: RunningMean,
    /// Batches in a row up to here that were skipped, as the last stage counts them.
    pub skipped_in_a_row: usize,
    /// Running statistics of this replica: mean and variance of each normalisation, where the stage has several replicas.
    pub statistics: Option<Vec<HostTensor>>,
    /// The synthesizer, on a stage that has one.
    pub synthesis: Option<SynthesisState>,
}

/// A micro-batch between its forward and its backward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptPass {
    /// The batch.
    pub batch: usize,
    /// Its micro-batch.
    pub micro: usize,
    /// The version that its forward belongs to.
    pub version: usize,
    /// The stage's input, `[N, …]`.
    pub input: HostTensor,
    /// The weights to build the graph at, in the order of the stage's parameters; `None` for those of the backward.
    pub weights: Option<Vec<HostTensor>>,
    /// Where the weights of the forward were, when the gap is to be measured from there.
    pub position: Option<Vec<HostTensor>>,
}

/// A message in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The batch.
    pub batch: usize,
    /// Its micro-batch.
    pub micro: usize,
    /// Version of the sender that computed it.
    pub version: usize,
    /// `[N, …]`.
    pub tensor: HostTensor,
}

/// A mean, and how many values it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningMean {
    /// The mean so far.
    pub mean: f64,
    /// Values in it, up to the length of its memory.
    pub count: u32,
}

/// A synthesizer, and the guesses that it has not learned from yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SynthesisState {
    /// Parameters and optimizer state.
    pub state: StageState,
    /// Mean square of the true gradients.
    pub scale: RunningMean,
    /// Oldest first.
    pub lessons: Vec<KeptLesson>,
}

/// What a synthesizer needs to repeat its guess for a micro-batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptLesson {
    /// The batch.
    pub batch: usize,
    /// Its micro-batch.
    pub micro: usize,
    /// The stage's output, `[N, …]`.
    pub output: HostTensor,
    /// The synthesizer's weights at that time, in the order of its parameters.
    pub weights: Vec<HostTensor>,
}

impl StageSnapshot {
    /// What each replica holds, from the first one on.
    pub fn of_replicas(&self) -> impl Iterator<Item = &PipelineState> {
        std::iter::once(&self.pipeline).chain(&self.replicas)
    }
}

/// All stages at one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version.
    pub version: usize,
    /// From stage 0 up.
    pub stages: Vec<StageSnapshot>,
}

impl Snapshot {
    /// The first batch, from 0, of which stage 0 has not forwarded every micro-batch: where the data has to start.
    pub fn next_batch(&self, schedule: &Schedule) -> usize {
        let kept = self
            .stages
            .first()
            .map_or(0, |first| first.pipeline.kept.len());
        self.version + kept / schedule.micro_batches()
    }
}

impl Snapshot {
    /// What the process of these stages needs of it: them, and what their neighbours have sent. Other stages are empty.
    #[must_use]
    pub fn part(&self, stages: Range<usize>) -> Self {
        let part = |(index, stage): (usize, &StageSnapshot)| {
            let is_neighbour = index + 1 == stages.start || index == stages.end;
            match (stages.contains(&index), is_neighbour) {
                (true, _) => stage.clone(),
                (false, true) => StageSnapshot {
                    state: StageState::default(),
                    ..stage.clone()
                },
                (false, false) => StageSnapshot::default(),
            }
        };
        Self {
            version: self.version,
            stages: self.stages.iter().enumerate().map(part).collect(),
        }
    }
}

/// `1 stage`, `2 stages`.
fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Why a stage cannot resume from a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It is of another number of stages.
    #[error("the snapshot is of {} and the run has {expected}", counted(*found, "stage"))]
    Stages {
        /// Of the run.
        expected: usize,
        /// Of the snapshot.
        found: usize,
    },
    /// It lacks something that the schedule needs at that version, or has it twice.
    #[error(
        "the snapshot does not fit the schedule: it holds {found} of {what}, and {expected} are needed"
    )]
    Count {
        /// What.
        what: &'static str,
        /// By the schedule.
        expected: usize,
        /// In the snapshot.
        found: usize,
    },
    /// It is of another number of replicas.
    #[error("the snapshot has {} of stage {stage} and the run has {expected}", counted(*found, "replica"))]
    Replicas {
        /// The stage.
        stage: usize,
        /// Of the run.
        expected: usize,
        /// Of the snapshot.
        found: usize,
    },
    /// Its micro-batches are not those that the schedule has there.
    #[error(
        "the snapshot does not fit the schedule: {what} of batch {expected} was expected and batch {found} is there"
    )]
    Batch {
        /// What.
        what: &'static str,
        /// By the schedule.
        expected: usize,
        /// In the snapshot.
        found: usize,
    },
}
