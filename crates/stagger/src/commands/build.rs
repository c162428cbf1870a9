//! From a job to stages and plans.

use std::ops::Range;

use anyhow::{Context, Result};
use stagger_data::{DataError, LoaderOptions};
use stagger_engine::burn::CpuStage;
use stagger_engine::{EngineError, StageSpec};
use stagger_runtime::{Feeds, Plan, dataset_feeds};
use stagger_schedule::{Horizon, Schedule};

use crate::flags::high::{self, TrainJob};

/// What stage `stage` of the job is made of.
pub fn spec(job: &TrainJob, stage: usize) -> StageSpec<'_> {
    let blocks = job.cut.stages()[stage].clone();
    StageSpec {
        optimizer: job.optimizer.clone(),
        clip_norm: job.values.clip_norm,
        label_smoothing: job.label_smoothing(),
        ..StageSpec::new(&job.model, blocks, job.seed)
    }
}

/// Finds out what is wrong with a stage before anything is written or started.
pub fn check_specs(job: &TrainJob) -> Result<()> {
    (0..job.schedule.stages()).try_for_each(|stage| {
        spec(job, stage)
            .validate()
            .map(drop)
            .with_context(|| format!("stage {stage}"))
    })
}

/// Builds stage `stage` with its initial weights.
pub fn stage(job: &TrainJob, stage: usize) -> Result<CpuStage, EngineError> {
    CpuStage::new(&spec(job, stage), Default::default())
}

/// A plan for the job's stages.
pub fn plan(job: &TrainJob, schedule: Schedule, horizon: Horizon) -> Plan {
    Plan {
        schedule,
        horizon,
        learning_rate: high::rate_of_batch(&job.learning_rate),
    }
}

/// Feeds that train on these batches.
pub fn feeds(job: &TrainJob, batches: Range<usize>) -> Result<Feeds, DataError> {
    let workers = job.values.workers.unwrap_or(1);
    let options = LoaderOptions {
        workers,
        ..LoaderOptions::default()
    };
    dataset_feeds(
        &job.split,
        &job.sampler,
        batches,
        job.eval_batch_size,
        options,
    )
}
