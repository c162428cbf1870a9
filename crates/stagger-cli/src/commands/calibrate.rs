//! What backpropagation makes of the same stages, for comparison.

use anyhow::Error;
use stagger_report::{RunSummary, RunTally};
use stagger_runtime::{Fault, Interrupt, Plan, RunError};
use stagger_schedule::{Horizon, Schedule};

use super::build;
use crate::failure::Failure;
use crate::flags::high::TrainJob;

/// Batches at the start of a run that fill caches and pipeline and are not timed.
pub const WARMUP_BATCHES: usize = 8;

/// Trains throw-away stages with backpropagation and times them. `None` when the run is too short
/// to say anything, or diverges.
pub fn run(job: &TrainJob, interrupt: &Interrupt) -> Result<Option<RunSummary>, Failure> {
    let batches = job
        .calibration_batches
        .saturating_add(WARMUP_BATCHES)
        .min(job.horizon.batches);
    if job.calibration_batches == 0 || batches <= WARMUP_BATCHES {
        return Ok(None);
    }
    let schedule = Schedule::parse("bp", Some(job.schedule.stages()))?;
    let plan = Plan {
        stall_timeout: job.stall_timeout,
        ..build::plan(job, schedule, Horizon::of(batches))
    };
    let mut tally = RunTally::new(WARMUP_BATCHES);
    let outcome = build::run(
        job,
        &plan,
        build::Options::default(),
        build::feeds(job, 0..batches)?,
        interrupt,
        |event| {
            tally.event(&event);
            Ok(())
        },
    );
    let outcome = match outcome {
        // It is its speed that is of interest, and the run itself may have a remedy.
        Err(RunError::Stage {
            cause: Fault::NonFiniteLoss { .. },
            ..
        }) => return Ok(None),
        Err(error) => {
            let error = Error::from(error).context("the calibration with bp failed");
            return Err(Failure::Run(error));
        }
        Ok(outcome) => outcome,
    };
    if outcome.interrupted {
        Err(Failure::Interrupted { trained: false })
    } else {
        Ok(Some(tally.summary()))
    }
}
