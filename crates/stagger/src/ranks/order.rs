//! What rank 0 tells the others, and what they answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use stagger_engine::StageState;
use stagger_runtime::snapshot::Snapshot;
use stagger_runtime::{OnNonFinite, Plan};
use stagger_schedule::{Horizon, Schedule};

use super::{Facts, RanksError};
use crate::block_times::BlockTimes;
use crate::error::Error;
use crate::job::Job;
use crate::profiling::RoundTrips;
use crate::stages::{self, Options};

/// From rank 0.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order<'a> {
    /// What the run is: its options, complete, as a config file. To be answered.
    Prepare { config: String },
    /// To train a stretch.
    Train(Box<Stretch<'a>>),
    /// The run is over.
    End,
    /// To measure the blocks of such a run's model, so many times. To be answered.
    Measure { config: String, rounds: usize },
    /// To exchange messages over each hop of the run that ends here, in a stretch of its own. To be answered.
    MeasureHops {
        config: String,
        stretch: u32,
        rounds: usize,
    },
    /// To say how this rank was started. To be answered, before anything else.
    Introduce,
}

/// To rank 0.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The run can be prepared here.
    Prepared(Facts),
    /// It cannot.
    Refused { host: String, sentence: String },
    /// This process has been asked to end.
    Interrupted,
    /// What blocks take here on the device of each place of this rank, and the name of the host.
    Measured {
        host: String,
        places: Vec<BlockTimes>,
    },
    /// What messages take on the hops whose lower end is here.
    MeasuredHops(Vec<RoundTrips>),
    /// The command line of this rank, where its program has told it.
    Introduced {
        host: String,
        command_line: Option<Vec<String>>,
    },
    /// This process has been asked for a snapshot.
    Snapshot,
}

/// A stretch of training: what [`stages::run`] is given on rank 0.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stretch<'a> {
    /// Counted from 1.
    pub number: u32,
    schedule: String,
    horizon: Horizon,
    on_non_finite: OnNonFinite,
    is_watched: bool,
    snapshot_interval: Option<std::time::Duration>,
    learning_rate_factor: f64,
    gap_every: usize,
    logits: bool,
    gradients_at: Vec<usize>,
    profile: bool,
    /// What the rank needs of it.
    resume: Option<Snapshot>,
    states: Option<Cow<'a, [StageState]>>,
}

impl<'a> Stretch<'a> {
    /// A stretch for the rank that has these stages.
    pub fn of(
        number: u32,
        plan: &Plan,
        options: &Options<'a>,
        stages: std::ops::Range<usize>,
    ) -> Self {
        Self {
            number,
            schedule: plan.schedule.to_string(),
            horizon: plan.horizon.clone(),
            on_non_finite: plan.on_non_finite,
            is_watched: plan.stall_timeout.is_some(),
            snapshot_interval: plan.snapshot_interval,
            learning_rate_factor: options.learning_rate_factor,
            gap_every: plan.gap_every,
            logits: plan.logits,
            gradients_at: plan.gradients_at.clone(),
            profile: options.profile,
            resume: plan.resume.as_ref().map(|whole| whole.part(stages)),
            states: options.states.map(Cow::Borrowed),
        }
    }

    /// The plan of rank 0, for the job of this rank.
    pub fn plan(&self, job: &Job) -> Result<Plan, Error> {
        let schedule = match job.schedule.to_string() == self.schedule {
            true => job.schedule.clone(),
            false => Schedule::parse(&self.schedule, Some(job.schedule.stages()))?,
        };
        let (horizon, factor) = (self.horizon.clone(), self.learning_rate_factor);
        Ok(Plan {
            on_non_finite: self.on_non_finite,
            // Whether, not how long: rank 0 watches.
            stall_timeout: job.stall_timeout.filter(|_| self.is_watched),
            snapshot_interval: self.snapshot_interval,
            gap_every: self.gap_every,
            logits: self.logits,
            gradients_at: self.gradients_at.clone(),
            resume: self.resume.clone().map(Into::into),
            ..stages::plan(job, schedule, horizon, factor)
        })
    }

    /// How the stages of this rank run, besides.
    pub fn options(&self) -> Options<'_> {
        Options {
            states: self.states.as_deref(),
            profile: self.profile,
            ..Options::default()
        }
    }
}

impl Order<'_> {
    pub fn frame(&self) -> Result<Vec<u8>, RanksError> {
        super::write(self)
    }
}
