//! From a job to stages and plans.
//!
//! The only file of this crate that builds stages of an engine.

use std::ops::Range;

use stagger_cpu::{CpuDevice, CpuStage};
use stagger_data::{DataError, LoaderOptions, Sampler};
use stagger_engine::{EngineError, HostTensor, Optimizer, Stage, StageSpec, StageState};
use stagger_runtime::{
    Elsewhere, Event, EventError, FeedError, Feeds, Inputs, Interrupt, Labels, Outcome, Place,
    Plan, RunError, dataset_feeds, dataset_labels, ranks, stage_optimizer, threads,
};
use stagger_schedule::{Horizon, Schedule};
#[cfg(feature = "torch")]
use stagger_torch::{TorchDevice, TorchStage};
use stagger_transport::wire::Format;
use stagger_transport::{Bytes, Ranks};

use crate::block_times::{self, BlockTimes};
#[cfg(feature = "torch")]
use crate::either::Either;
use crate::error::Error;
use crate::job::{EngineChoice, Job, PlaceEngine, TransportChoice};
use crate::ranks::Leader;

/// What stage `stage` of the job is made of, when it runs with this optimizer.
fn spec(job: &Job, stage: usize, optimizer: Optimizer) -> StageSpec<'_> {
    let blocks = job.cut.stages()[stage].clone();
    StageSpec {
        optimizer,
        clip_norm: job.clip_norm_of_stages(),
        label_smoothing: job.label_smoothing(),
        frozen: stage < job.options.freeze_stages.unwrap_or_default(),
        head_rate_factor: job.options.head_lr_factor.unwrap_or(1.0),
        winograd: job.options.winograd.unwrap_or(true),
        precision: job.precision,
        ..StageSpec::new(&job.model, blocks, job.seed)
    }
}

/// The optimizer of a stage by the job's schedule.
fn optimizer(job: &Job, stage: usize) -> Optimizer {
    stage_optimizer(&job.schedule, stage, &job.optimizer)
}

/// Finds out what is wrong with a stage, or with the devices of these places, before anything is written or started.
pub fn check(job: &Job, places: Range<usize>) -> Result<(), Error> {
    job.engine.check(&job.options, places)?;
    (0..job.schedule.stages()).try_for_each(|stage| {
        let spec = StageSpec {
            clip_norm: job.options.clip_norm,
            ..spec(job, stage, optimizer(job, stage))
        };
        let valid = spec.validate().map(drop);
        valid.map_err(|source| Error::Stage {
            stage,
            source: Box::new(source),
        })
    })
}

/// How stages run, besides what the job says.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What they start from, instead of their initial weights.
    pub states: Option<&'a [StageState]>,
    /// Whether they time their kernels.
    pub profile: bool,
    /// What the plan's learning rates are multiples of the job's by.
    pub learning_rate_factor: f64,
    /// The other processes that stages are shared out over.
    pub leader: Option<&'a Leader>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            states: None,
            profile: false,
            learning_rate_factor: 1.0,
            leader: None,
        }
    }
}

/// Runs a plan over the job's stages, on its engine and its transport.
pub fn run(
    job: &Job,
    plan: &Plan,
    options: Options<'_>,
    feeds: Feeds,
    interrupt: &Interrupt,
    on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError> {
    let run = Running {
        ranks: match options.leader {
            Some(leader) => Some(leader.order(plan, &options, job.wire_format)?),
            None => None,
        },
        job,
        plan,
        interrupt,
    };
    match &job.engine {
        EngineChoice::Cpu(device) => run.over(cpu_stages(job, options, *device), feeds, on_event),
        EngineChoice::Emulated(emulation) => {
            let emulated = emulation.under(&plan.schedule);
            let build = |place: Place, _| {
                let stage = emulated.stage(place, options.profile);
                start(stage, options.states, place.stage)
            };
            let links = emulated.links();
            threads::run_over(&links, plan, build, feeds, interrupt, on_event)
        }
        #[cfg(feature = "torch")]
        EngineChoice::Torch(devices) => {
            run.over(torch_stages(job, options, devices), feeds, on_event)
        }
        #[cfg(feature = "torch")]
        EngineChoice::Mixed(engines) => {
            run.over(mixed_stages(job, options, engines), feeds, on_event)
        }
    }
}

/// A plan and where it runs.
struct Running<'a> {
    job: &'a Job,
    plan: &'a Plan,
    interrupt: &'a Interrupt,
    /// `None` where all stages are in this process.
    ranks: Option<Ranks>,
}

impl Running<'_> {
    fn over<S: Stage>(
        &self,
        build: impl Build<S>,
        feeds: Feeds,
        on_event: impl FnMut(Event) -> Result<(), EventError>,
    ) -> Result<Outcome, RunError> {
        let Self {
            job,
            plan,
            interrupt,
            ranks,
        } = self;
        match (ranks, job.transport) {
            (Some(ranks), _) => ranks::lead(ranks, plan, build, feeds, interrupt, on_event),
            // A run that is resumed from several processes keeps what its numbers depend on.
            (None, TransportChoice::Threads) if job.wire_format == Format::F32 => {
                threads::run(plan, build, feeds, interrupt, on_event)
            }
            (None, TransportChoice::Threads | TransportChoice::Bytes) => {
                let format = job.wire_format;
                threads::run_over(&Bytes { format }, plan, build, feeds, interrupt, on_event)
            }
        }
    }
}

/// Runs this rank's part of a plan that rank 0 leads.
pub fn follow(
    job: &Job,
    ranks: &Ranks,
    plan: &Plan,
    options: Options<'_>,
    feeds: Feeds,
) -> Result<(), RunError> {
    match &job.engine {
        EngineChoice::Cpu(device) => {
            ranks::follow(ranks, plan, cpu_stages(job, options, *device), feeds)
        }
        // Rank 0 has refused it.
        EngineChoice::Emulated(_) => Err(RunError::Event(
            "emulated stages are those of one process".into(),
        )),
        #[cfg(feature = "torch")]
        EngineChoice::Torch(devices) => {
            ranks::follow(ranks, plan, torch_stages(job, options, devices), feeds)
        }
        #[cfg(feature = "torch")]
        EngineChoice::Mixed(engines) => {
            ranks::follow(ranks, plan, mixed_stages(job, options, engines), feeds)
        }
    }
}

/// What is to be done with stages of the job, whatever their engine is.
pub trait OnStages {
    /// What comes of it.
    type Output;

    /// Does it; `build` makes stage k, with its initial weights and on the device of its first replica.
    fn run<S: Stage>(self, build: impl Fn(usize) -> Result<S, EngineError> + Sync) -> Self::Output;
}

/// Does something with stages of the job's engine that no plan runs. Emulated ones are not there.
pub fn on_stages<V: OnStages>(job: &Job, visitor: V) -> V::Output {
    fn first<S: Stage>(
        job: &Job,
        build: impl Build<S>,
    ) -> impl Fn(usize) -> Result<S, EngineError> + Sync {
        move |stage| {
            let place = job.replicas.place(job.replicas.number(stage, 0));
            build(place, optimizer(job, stage))
        }
    }
    let options = Options::default();
    match &job.engine {
        EngineChoice::Cpu(device) => visitor.run(first(job, cpu_stages(job, options, *device))),
        EngineChoice::Emulated(_) => {
            let device = CpuDevice::default();
            visitor.run(first(job, cpu_stages(job, options, device)))
        }
        #[cfg(feature = "torch")]
        EngineChoice::Torch(devices) => {
            visitor.run(first(job, torch_stages(job, options, devices)))
        }
        #[cfg(feature = "torch")]
        EngineChoice::Mixed(engines) => {
            visitor.run(first(job, mixed_stages(job, options, engines)))
        }
    }
}

/// What the blocks of the job's model take here on the engine and the device of a place; see
/// [`block_times`](crate::block_times).
pub fn measure_blocks(job: &Job, place: usize, rounds: usize) -> Result<BlockTimes, EngineError> {
    let engine = job.engine.at(place);
    match engine {
        PlaceEngine::Cpu(device) => {
            let measured =
                block_times::measure_with(job, engine, rounds, |spec| CpuStage::new(spec, device));
            // The stages of the run have threads of their own.
            stagger_cpu::release_threads();
            measured
        }
        #[cfg(feature = "torch")]
        PlaceEngine::Torch(device) => {
            block_times::measure_with(job, engine, rounds, |spec| TorchStage::new(spec, device))
        }
    }
}

/// Finds out whether states fit the job's stages. That does not depend on the device, which may be that of another process.
pub fn check_states(job: &Job, states: &[StageState]) -> Result<(), EngineError> {
    let options = Options {
        states: Some(states),
        ..Options::default()
    };
    (0..states.len()).try_for_each(|stage| {
        let optimizer = optimizer(job, stage);
        match job.engine.at(job.replicas.number(stage, 0)) {
            PlaceEngine::Cpu(_) => {
                let device = CpuDevice::default();
                cpu_stage(job, options, device, stage, optimizer).map(drop)
            }
            #[cfg(feature = "torch")]
            PlaceEngine::Torch(device) => {
                let on_processor = TorchDevice {
                    cuda: None,
                    ..device
                };
                torch_stage(job, options, on_processor, stage, optimizer).map(drop)
            }
        }
    })
}

/// What makes the stages of one engine.
trait Build<S>: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync {}

impl<S, B: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync> Build<S> for B {}

fn cpu_stages(job: &Job, options: Options<'_>, device: CpuDevice) -> impl Build<CpuStage> {
    move |place: Place, optimizer| cpu_stage(job, options, device, place.stage, optimizer)
}

#[cfg(feature = "torch")]
fn torch_stages(
    job: &Job,
    options: Options<'_>,
    devices: &[TorchDevice],
) -> impl Build<TorchStage> {
    move |place: Place, optimizer| {
        let device = devices[job.replicas.number(place.stage, place.replica)];
        torch_stage(job, options, device, place.stage, optimizer)
    }
}

#[cfg(feature = "torch")]
fn mixed_stages(
    job: &Job,
    options: Options<'_>,
    engines: &[PlaceEngine],
) -> impl Build<Either<CpuStage, TorchStage>> {
    move |place: Place, optimizer| {
        let stage = place.stage;
        Ok(match engines[job.replicas.number(stage, place.replica)] {
            PlaceEngine::Cpu(device) => {
                Either::A(cpu_stage(job, options, device, stage, optimizer)?)
            }
            PlaceEngine::Torch(device) => {
                Either::B(torch_stage(job, options, device, stage, optimizer)?)
            }
        })
    }
}

fn cpu_stage(
    job: &Job,
    options: Options<'_>,
    device: CpuDevice,
    stage: usize,
    optimizer: Optimizer,
) -> Result<CpuStage, EngineError> {
    let spec = StageSpec {
        profiled: options.profile,
        ..spec(job, stage, optimizer)
    };
    start(CpuStage::new(&spec, device)?, options.states, stage)
}

#[cfg(feature = "torch")]
fn torch_stage(
    job: &Job,
    options: Options<'_>,
    device: TorchDevice,
    stage: usize,
    optimizer: Optimizer,
) -> Result<TorchStage, EngineError> {
    let spec = StageSpec {
        profiled: options.profile,
        ..spec(job, stage, optimizer)
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

/// A plan for the job's stages, with its learning rates multiplied by a factor.
pub fn plan(job: &Job, schedule: Schedule, horizon: Horizon, rate_factor: f64) -> Plan {
    let learning_rate = job.learning_rate.clone();
    Plan {
        gap_every: job.gap_every,
        stragglers: job.stragglers.clone(),
        seed: job.seed,
        replicas: job.replicas.clone(),
        sync_batch_norm: job.sync_batch_norm,
        clip_norm: job.clip_norm_over_stages(),
        average: job.average,
        ..Plan::new(schedule, horizon, job.optimizer.clone(), move |batch| {
            learning_rate.at(batch) * rate_factor
        })
    }
}

/// Feeds that train on these batches.
pub fn feeds(job: &Job, batches: Range<usize>) -> Result<Feeds, DataError> {
    if job.emulated().is_some() {
        return Ok(emulated_feeds(job));
    }
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

/// Feeds of a run whose stages look at nothing but the number of samples: nothing is read or augmented.
fn emulated_feeds(job: &Job) -> Feeds {
    let samples = Samples(job.sampler.clone());
    Feeds {
        inputs: Box::new(samples.clone()),
        labels: Box::new(samples),
    }
}

/// As many zeros as a batch has samples.
#[derive(Clone)]
struct Samples(Sampler);

impl Inputs for Samples {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let samples = self.0.batch_len(batch);
        Ok(HostTensor::new(vec![samples, 1], vec![0.0; samples])?)
    }

    fn evaluation(&mut self, _: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

impl Labels for Samples {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(vec![0; self.0.batch_len(batch)])
    }

    fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(Vec::new())
    }
}

/// Feeds of a rank with these stages. Images are read only where stage 0 is.
pub fn feeds_of(
    job: &Job,
    stages: Range<usize>,
    batches: Range<usize>,
) -> Result<Feeds, DataError> {
    match stages.contains(&0) {
        true => feeds(job, batches),
        false => labels(job),
    }
}

/// Feeds of a rank without stage 0: the labels of all batches.
fn labels(job: &Job) -> Result<Feeds, DataError> {
    let labels = dataset_labels(&job.split, &job.sampler, job.eval_batch_size)?;
    Ok(Feeds {
        inputs: Box::new(Elsewhere),
        labels,
    })
}
