//! What to run, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stagger_schedule::{GradientSource, Horizon, Kept, Schedule, StagePolicy};

use crate::snapshot::Snapshot;
use crate::straggler::Straggler;

/// Everything the stages of a run agree on.
#[derive(Clone)]
pub struct Plan {
    /// The method and its K stages.
    pub schedule: Schedule,
    /// How many batches, and where to evaluate and snapshot.
    pub horizon: Horizon,
    /// Learning rate of a batch: a function of the batch index alone (docs/algorithm.md, "Semantics that are easy to
    /// get wrong").
    pub learning_rate: Arc<dyn Fn(usize) -> f64 + Send + Sync>,
    /// Momentum `β` of the optimizer, for schedules that look ahead along it; 0 without one.
    pub momentum: f64,
    /// Batches between two of which each stage measures how far its weights move from forward to backward; 0 for none.
    /// One measurement holds a copy of the stage's weights over that time and reads both once.
    pub gap_every: usize,
    /// Stages that are slowed down on purpose.
    pub stragglers: Vec<Straggler>,
    /// Seed of the stragglers' streams.
    pub seed: u64,
    /// What happens when the loss of a batch is not finite.
    pub on_non_finite: OnNonFinite,
    /// The time without any progress of any stage after which the run ends, at the latest twice that; `None` for never.
    pub stall_timeout: Option<Duration>,
    /// Time between two snapshots beside those of the horizon, at whatever versions the run is then.
    pub snapshot_interval: Option<Duration>,
    /// Where the run goes on; `None` for a run from the start. The numbers are those of the run that the snapshot was
    /// taken of, from its version on, if everything else is as it was; queue lengths may differ.
    pub resume: Option<Arc<Snapshot>>,
}

/// What a run does with a loss that is NaN or an infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNonFinite {
    /// It ends with [`Fault::NonFiniteLoss`](crate::Fault::NonFiniteLoss).
    #[default]
    Stop,
    /// Every stage leaves out its update of that batch, and its passes from the running statistics. Ten such batches in a
    /// row end the run.
    Skip,
}

impl OnNonFinite {
    /// Whether a run of this schedule can do it. A batch cannot be left out where graphs outlive updates, as passes of later
    /// batches are in the running statistics by then; nor where a stage guesses gradients: it has made its update before the
    /// loss is known.
    pub fn suits(self, schedule: &Schedule) -> bool {
        let takes_back = |policy: &StagePolicy| {
            let outlives_updates = policy.kept == Kept::Graph && policy.staleness > 0;
            !outlives_updates && policy.gradient == GradientSource::Above
        };
        self == Self::Stop || schedule.policies().iter().all(takes_back)
    }
}

impl Plan {
    /// A plan from the start at this learning rate, without momentum, measurements of the gap, stragglers, or snapshots
    /// besides those of the horizon.
    pub fn new(
        schedule: Schedule,
        horizon: Horizon,
        learning_rate: impl Fn(usize) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            schedule,
            horizon,
            learning_rate: Arc::new(learning_rate),
            momentum: 0.0,
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

/// How a run ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Version of the parameters at the end: the number of batches trained, also before the run was resumed.
    pub version: usize,
    /// Whether the run was halted by an [`Interrupt`](crate::Interrupt).
    pub interrupted: bool,
    /// From the start of the clock to the end of the last stage.
    pub wall: Duration,
}
