//! What to run, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stagger_schedule::{Horizon, Schedule};

use crate::straggler::Straggler;

/// Everything the stages of a run agree on.
#[derive(Clone)]
pub struct Plan {
    /// The method and its K stages.
    pub schedule: Schedule,
    /// How many batches, and where to evaluate and snapshot.
    pub horizon: Horizon,
    /// Learning rate of a batch: a function of the batch index alone (DESIGN §4).
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
}

impl Plan {
    /// A plan at this learning rate, without momentum, measurements of the gap, or stragglers.
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
    /// Version of the parameters at the end: the number of batches trained.
    pub version: usize,
    /// Whether the run was cut short by an [`Interrupt`](crate::Interrupt).
    pub interrupted: bool,
    /// From the start of the clock to the end of the last stage.
    pub wall: Duration,
}
