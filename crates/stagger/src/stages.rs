//! From a job to stages and plans.
//!
//! The only file of this crate that builds stages of an engine.

use std::ops::Range;

use stagger_cpu::{CpuDevice, CpuStage};
use stagger_data::{DataError, LoaderOptions};
use stagger_engine::{EngineError, Optimizer, Stage, StageSpec, StageState};
use stagger_runtime::{
    Event, EventError, Feeds, Interrupt, Outcome, Plan, RunError, dataset_feeds, threads,
};
use stagger_schedule::{Horizon, Schedule};
#[cfg(feature = "torch")]
use stagger_torch::{TorchDevice, TorchStage};

use crate::error::Error;
use crate::job::{EngineChoice, Job};

/// What stage `stage` of the job is made of.
pub fn spec(job: &Job, stage: usize) -> StageSpec<'_> {
    let blocks = job.cut.stages()[stage].clone();
    StageSpec {
        optimizer: optimizer(job, stage),
        clip_norm: job.options.clip_norm,
        label_smoothing: job.label_smoothing(),
        precision: job.precision,
        ..StageSpec::new(&job.model, blocks, job.seed)
    }
}

/// The job's optimizer, with the stage's own momentum where the schedule looks ahead by it.
fn optimizer(job: &Job, stage: usize) -> Optimizer {
    let mut optimizer = job.optimizer.clone();
    let momentum = job.schedule.momentum(stage, beta(&optimizer));
    if let (Optimizer::Momentum { beta, nesterov, .. }, Some(momentum)) = (&mut optimizer, momentum)
    {
        *beta = momentum;
        *nesterov = 1.0;
    }
    optimizer
}

/// `β` of an optimizer that has one, else 0.
fn beta(optimizer: &Optimizer) -> f64 {
    match optimizer {
        Optimizer::Momentum { beta, .. } => *beta,
        _ => 0.0,
    }
}

/// Finds out what is wrong with a stage before anything is written or started.
pub fn check_specs(job: &Job) -> Result<(), Error> {
    (0..job.schedule.stages()).try_for_each(|stage| {
        let valid = spec(job, stage).validate().map(drop);
        valid.map_err(|source| Error::Stage {
            stage,
            source: Box::new(source),
        })
    })
}

/// How stages run, besides what the job says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// What they start from, instead of their initial weights.
    pub states: Option<&'a [StageState]>,
    /// Whether they time their kernels.
    pub profile: bool,
}

/// Runs a plan over the job's stages, on its engine.
pub fn run(
    job: &Job,
    plan: &Plan,
    options: Options<'_>,
    feeds: Feeds,
    interrupt: &Interrupt,
    on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError> {
    match &job.engine {
        EngineChoice::Cpu => {
            let build = |stage| cpu_stage(job, options, stage);
            threads::run(plan, build, feeds, interrupt, on_event)
        }
        #[cfg(feature = "torch")]
        EngineChoice::Torch(devices) => {
            let build = |stage| torch_stage(job, devices, options, stage);
            threads::run(plan, build, feeds, interrupt, on_event)
        }
    }
}

/// Finds out whether states fit the job's stages.
pub fn check_states(job: &Job, states: &[StageState]) -> Result<(), EngineError> {
    let options = Options {
        states: Some(states),
        ..Options::default()
    };
    (0..states.len()).try_for_each(|stage| match &job.engine {
        EngineChoice::Cpu => cpu_stage(job, options, stage).map(drop),
        #[cfg(feature = "torch")]
        EngineChoice::Torch(devices) => torch_stage(job, devices, options, stage).map(drop),
    })
}

fn cpu_stage(job: &Job, options: Options<'_>, stage: usize) -> Result<CpuStage, EngineError> {
    let spec = StageSpec {
        profiled: options.profile,
        ..spec(job, stage)
    };
    start(CpuStage::new(&spec, CpuDevice)?, options.states, stage)
}

#[cfg(feature = "torch")]
fn torch_stage(
    job: &Job,
    devices: &[TorchDevice],
    options: Options<'_>,
    stage: usize,
) -> Result<TorchStage, EngineError> {
    let device = devices.get(stage).copied().unwrap_or_default();
    let spec = StageSpec {
        profiled: options.profile,
        ..spec(job, stage)
    };
    start(TorchStage::new(&spec, device)?, options.states, stage)
}

fn start<S: Stage>(
    mut built: S,
    states: Option<&[StageState]>,
    stage: usize,
) -> Result<S, EngineError> {
    if let Some(state) = states.and_then(|states| states.get(stage)) {
        built.import(state)?;
    }
    Ok(built)
}

/// The states of all stages, out of that of the whole model.
pub fn split_state(job: &Job, whole: &StageState) -> Vec<StageState> {
    let blocks = job.cut.stages().iter();
    blocks
        .map(|blocks| whole.of_blocks(&job.model, blocks.clone()))
        .collect()
}

/// A plan for the job's stages.
pub fn plan(job: &Job, schedule: Schedule, horizon: Horizon) -> Plan {
    let learning_rate = job.learning_rate.clone();
    Plan {
        momentum: beta(&job.optimizer),
        gap_every: job.gap_every,
        stragglers: job.stragglers.clone(),
        seed: job.seed,
        ..Plan::new(schedule, horizon, move |batch| learning_rate.at(batch))
    }
}

/// Feeds that train on these batches.
pub fn feeds(job: &Job, batches: Range<usize>) -> Result<Feeds, DataError> {
    let workers = job.options.workers.unwrap_or(1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Given;
    use crate::options::TrainingOptions;

    #[test]
    fn looking_ahead_gives_each_stage_a_momentum_of_its_own() {
        let of_stages = |schedule: &str| {
            let options = TrainingOptions {
                schedule: Some(schedule.to_owned()),
                stages: Some(3),
                ..TrainingOptions::default()
            };
            let job = Job::new(options, &Given::default()).unwrap();
            let momentum = |stage| match spec(&job, stage).optimizer {
                Optimizer::Momentum { beta, nesterov, .. } => (beta, nesterov),
                other => panic!("{other:?}"),
            };
            (0..3).map(momentum).collect::<Vec<_>>()
        };
        assert_eq!(of_stages("dsp"), [(0.9, 0.0); 3]);
        let found = of_stages("dsp + look-ahead(0.98)");
        for (found, expected) in found.iter().zip([0.98, 0.94, 0.9]) {
            assert!(
                (found.0 - expected).abs() < 1e-12 && found.1 == 1.0,
                "{found:?}"
            );
        }
    }
}
