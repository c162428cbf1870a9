//! What to run, and how it ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stagger_engine::Optimizer;
use stagger_schedule::{GradientSource, Horizon, Kept, Schedule, StagePolicy};

use crate::snapshot::Snapshot;
use crate::straggler::Straggler;
use stagger_schedule::Replicas;

/// Everything the stages of a run agree on.
#[derive(Clone)]
pub struct Plan {
    /// The method and its K stages.
    pub schedule: Schedule,
    /// How many copies there are of each stage. What the schedule's notation says of it (`dp(4)`) is for the caller to put here.
    pub replicas: Replicas,
    /// Whether batch normalisation of a stage with replicas is over the whole (micro-)batch, instead of each replica's share.
    /// Nothing changes where no stage has replicas.
    pub sync_batch_norm: bool,
    /// How many batches, and where to evaluate and snapshot.
    pub horizon: Horizon,
    /// The optimizer of the run. A stage gets its own from [`stage_optimizer`](crate::stage_optimizer).
    pub optimizer: Optimizer,
    /// Learning rate of a batch, the same for all stages: a function of the batch index alone (docs/algorithm.md, "Semantics
    /// that are easy to get wrong").
    pub learning_rate: Arc<dyn Fn(usize) -> f64 + Send + Sync>,
    /// The largest norm of the gradient over all stages, to which an update scales it down. Only a schedule by which no stage runs ahead of
    /// the batch that it pulls back can have it ([`Schedule::is_synchronous`]): others would have to wait for each other. Stages that
    /// clip by a norm of their own are the caller's to build. `None` for no clipping here.
    pub clip_norm: Option<f64>,
    /// `keep` of the running mean of the weights ([`Stage::track_average`](stagger_engine::Stage::track_average)), by which every evaluation is
    /// made, too: [`Event::EvaluatedAverage`](crate::Event::EvaluatedAverage). `None` for no mean.
    pub average: Option<f64>,
    /// Whether the last stage emits the logits of every batch of an evaluation as [`Event::Logits`](crate::Event::Logits).
    pub logits: bool,
    /// Batches whose gradients every stage tells as [`Event::Gradients`](crate::Event::Gradients), in ascending order. Each costs the stage a copy
    /// of its gradients in host memory.
    pub gradients_at: Vec<usize>,
    /// Sampling interval of the gap, in batches; 0 disables it. The gap is how far a stage's weights move from forward to
    /// backward. A measurement keeps a copy of the weights over that time and reads both once.
    pub gap_every: usize,
    /// Stages that are slowed down on purpose.
    pub stragglers: Vec<Straggler>,
    /// Seed of the stragglers' streams.
    pub seed: u64,
    /// What happens when the loss of a batch is not finite.
    pub on_non_finite: OnNonFinite,
    /// The run ends when no stage has made progress for this long, or up to twice as long; `None` for never.
    pub stall_timeout: Option<Duration>,
    /// Time between two snapshots by the clock, which come in addition to those of the horizon.
    pub snapshot_interval: Option<Duration>,
    /// The snapshot to resume from; `None` for a run from the start. From its version on the numbers are those of the run
    /// that it was taken of, as long as the rest of the plan is the same; queue lengths may differ.
    pub resume: Option<Arc<Snapshot>>,
}

/// What a run does with a loss that is NaN or an infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNonFinite {
    /// It ends with [`Fault::NonFiniteLoss`](crate::Fault::NonFiniteLoss).
    #[default]
    Stop,
    /// Every stage skips its update of that batch and takes the batch out of its running statistics. After ten such batches
    /// in a row the next one ends the run.
    Skip,
}

impl OnNonFinite {
    /// Whether a run of this schedule can do it. A batch cannot be skipped where graphs outlive updates, as the running
    /// statistics then include passes of later batches; nor where a stage guesses gradients, as it has made its update before
    /// the loss is known.
    pub fn suits(self, schedule: &Schedule) -> bool {
        let takes_back = |policy: &StagePolicy| {
            let outlives_updates = policy.kept == Kept::Graph && policy.staleness > 0;
            !outlives_updates && policy.gradient == GradientSource::Above
        };
        self == Self::Stop || schedule.policies().iter().all(takes_back)
    }
}

impl Plan {
    /// A plan from the start with one copy of each stage, without measurements of the gap, stragglers, or snapshots besides those of the horizon.
    pub fn new(
        schedule: Schedule,
        horizon: Horizon,
        optimizer: Optimizer,
        learning_rate: impl Fn(usize) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            replicas: Replicas::none(schedule.stages()),
            sync_batch_norm: false,
            schedule,
            horizon,
            optimizer,
            learning_rate: Arc::new(learning_rate),
            clip_norm: None,
            average: None,
            logits: false,
            gradients_at: Vec::new(),
            gap_every: 0,
            stragglers: Vec::new(),
            seed: 0,
            on_non_finite: OnNonFinite::Stop,
            stall_timeout: None,
            snapshot_interval: None,
            resume: None,
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("schedule", &self.schedule)
            .field("horizon", &self.horizon)
            .finish_non_exhaustive()
    }
}

/// What a run may reach before its last batch, and end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyEnd {
    /// It has trained for as long as it may.
    TimeLimit,
    /// An evaluation has reached the accuracy that is enough.
    Target,
    /// Its accuracy no longer rises.
    Patience,
}

/// How a run ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Version of the parameters at the end: the number of batches trained, including those before the run was resumed.
    pub version: usize,
    /// Whether the run was halted by an [`Interrupt`](crate::Interrupt).
    pub interrupted: bool,
    /// What the run had reached when its caller halted it, which then was no interruption. The runtime knows of none.
    pub ended_by: Option<EarlyEnd>,
    /// From the start of the clock to the end of the last stage.
    pub wall: Duration,
}
