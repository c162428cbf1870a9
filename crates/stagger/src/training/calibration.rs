//! Times backpropagation on the same stages, for comparison.

use stagger_report::{RunSummary, RunTally};
use stagger_runtime::{Fault, Interrupt, Plan, RunError};
use stagger_schedule::{Horizon, Schedule};

use crate::error::Error;
use crate::job::Job;
use crate::ranks::Leader;
use crate::stages;

/// Batches at the start of a run that fill caches and pipeline and are not timed.
pub const WARMUP_BATCHES: usize = 8;

/// What came of it.
pub enum Calibration {
    /// Throughput and times.
    Timed(RunSummary),
    /// The run is too short to say anything, or diverges.
    Nothing,
    /// It was interrupted.
    Interrupted,
}

/// A line for people where the run is too short to have one.
pub fn left_out(job: &Job) -> Option<String> {
    (job.horizon.batches <= WARMUP_BATCHES).then(|| {
        format!(
            "no calibration: its first {WARMUP_BATCHES} batches are not timed, and the run has no more"
        )
    })
}

/// Trains throw-away stages with backpropagation and times them.
pub fn run(
    job: &Job,
    leader: Option<&Leader>,
    interrupt: &Interrupt,
) -> Result<Calibration, Error> {
    let batches = job
        .calibration_batches
        .saturating_add(WARMUP_BATCHES)
        .min(job.horizon.batches);
    if job.calibration_batches == 0 || batches <= WARMUP_BATCHES {
        return Ok(Calibration::Nothing);
    }
    let schedule = Schedule::parse("bp", Some(job.schedule.stages()))?;
    let plan = Plan {
        stall_timeout: job.stall_timeout,
        ..stages::plan(job, schedule, Horizon::of(batches), 1.0)
    };
    let mut tally = RunTally::new(WARMUP_BATCHES);
    let outcome = stages::run(
        job,
        &plan,
        stages::Options {
            leader,
            ..stages::Options::default()
        },
        stages::feeds(job, 0..batches)?,
        interrupt,
        |event| {
            tally.event(&event);
            Ok(())
        },
    );
    let outcome = match outcome {
        // Only its speed is of interest, and the run itself may have a remedy.
        Err(RunError::Stage {
            cause: Fault::NonFiniteLoss { .. },
            ..
        }) => return Ok(Calibration::Nothing),
        Err(error) => return Err(Error::Calibration(error)),
        Ok(outcome) => outcome,
    };
    Ok(if outcome.interrupted {
        Calibration::Interrupted
    } else {
        Calibration::Timed(tally.summary())
    })
}
