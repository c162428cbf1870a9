//! A run on paper: what a schedule would reach with given durations.

use std::sync::Arc;

use stagger_model::{Balance, Cut};
use stagger_plan::{Distribution, LeastStaleness, Pipeline, Simulated, Step, Times, exact_period};
use stagger_runtime::Straggler;
use stagger_schedule::Schedule;

use crate::balance::{ToCut, check_profile, cut_of_profile, read_profile};
use crate::durations::{Durations, DurationsChoice, DurationsError};
use crate::error::Error;
use crate::job::stragglers;
use crate::refusal::Refusal;

/// What momentum keeps, in values per parameter.
const MOMENTUM_SLOTS: usize = 1;

/// What to simulate.
///
/// ```
/// use stagger::Simulation;
///
/// let simulated = Simulation {
///     schedule: "dsp".into(),
///     stages: Some(4),
///     durations: "equal:40ms".parse()?,
///     ..Simulation::default()
/// }
/// .prepare()?
/// .run(|_| {})?;
/// // No stage waits: a batch every 40 ms.
/// assert!((simulated.batches_per_second - 25.0).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The method, in notation.
    pub schedule: String,
    /// Stages, where the notation does not say it.
    pub stages: Option<usize>,
    /// How long everything takes.
    pub durations: DurationsChoice,
    /// How a profile's blocks are cut: `profile` (by itself), `uniform`, `auto` (by an estimate), or numbers of blocks.
    pub balance: Option<String>,
    /// Samples per batch; those of the profile's micro-batch where it is not said.
    pub batch_size: Option<usize>,
    /// From the end of sending to arrival, for all hops, instead of what a profile says.
    pub latency: Option<Distribution>,
    /// How long each activation and each gradient occupies its link, instead of what a profile says.
    pub transfer: Option<Distribution>,
    /// Stages that are slowed down, each as [`Straggler`] reads it.
    pub stragglers: Vec<String>,
    /// Batches that are counted.
    pub batches: usize,
    /// Batches before those.
    pub warmup: usize,
    /// Seed of durations that are drawn, and of stragglers.
    pub seed: u64,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            schedule: "dsp".into(),
            stages: None,
            durations: DurationsChoice::Equal(0.040),
            balance: None,
            batch_size: None,
            latency: None,
            transfer: None,
            stragglers: Vec::new(),
            batches: 1000,
            warmup: 100,
            seed: 0,
        }
    }
}

/// A simulation of which everything is known.
#[derive(Clone)]
pub struct PreparedSimulation {
    /// The method on its stages.
    pub schedule: Schedule,
    /// How the profile's blocks are cut; `None` without a profile.
    pub cut: Option<Cut>,
    /// The profile's model.
    pub model: Option<String>,
    /// What everything takes.
    pub pipeline: Pipeline,
    /// Samples per batch, where they are known.
    pub batch_size: Option<usize>,
    times: Times,
    request: Simulation,
}

impl Simulation {
    /// Reads the profile and cuts its model.
    ///
    /// # Errors
    /// When the schedule or the profile is wrong, or they do not fit each other.
    pub fn prepare(&self) -> Result<PreparedSimulation, Error> {
        let schedule = Schedule::parse(&self.schedule, self.stages)?;
        if schedule.replicas().is_some_and(|replicas| replicas > 1) {
            return Err(Refusal::SimulatedReplicas {
                schedule: schedule.to_string(),
            }
            .into());
        }
        for (option, value) in [
            ("batches", Some(self.batches)),
            ("batch_size", self.batch_size),
        ] {
            if value == Some(0) {
                return Err(Refusal::Zero { option }.into());
            }
        }
        let stragglers = stragglers(&self.stragglers, schedule.stages())?;
        let durations = self.durations.read()?;
        let model = durations.model()?;
        let (cut, batch_size) = match (&durations, &model) {
            (Durations::Profile(profile), Some(model)) => {
                let batch_size = self.batch_size.unwrap_or(profile.samples);
                if batch_size < schedule.micro_batches() {
                    return Err(Refusal::BatchSize {
                        found: batch_size,
                        model: model.name.clone(),
                        schedule: schedule.to_string(),
                        reason: "each micro-batch needs a sample".into(),
                        least: schedule.micro_batches(),
                    }
                    .into());
                }
                let run = ToCut {
                    model,
                    schedule: &schedule,
                    replicas: None,
                    batch_size,
                    optimizer_slots: MOMENTUM_SLOTS,
                };
                let own = match &self.durations {
                    DurationsChoice::File(path) => path.as_path(),
                    DurationsChoice::Equal(_) => "".as_ref(),
                };
                check_profile(profile, own, &run).map_err(DurationsError::from)?;
                let cut = match self.balance.as_deref().map(str::parse).transpose()? {
                    None | Some(Balance::Profile) => cut_of_profile(profile, own, &run)?.0,
                    Some(Balance::File(other)) => {
                        let profile = read_profile(&other).map_err(DurationsError::from)?;
                        cut_of_profile(&profile, &other, &run)?.0
                    }
                    Some(balance) => balance.cut(model, &schedule.recomputes(), None)?,
                };
                (Some(cut), Some(batch_size))
            }
            _ if self.balance.is_some() => {
                return Err(Refusal::Unused {
                    option: "balance",
                    beside: "profile",
                    found: "equal:…".into(),
                    expected: "FILE",
                }
                .into());
            }
            _ => (None, self.batch_size),
        };
        let mut pipeline = durations.pipeline(&schedule, cut.as_ref(), batch_size.unwrap_or(1))?;
        for hop in &mut pipeline.hops {
            if let Some(latency) = &self.latency {
                hop.latency = latency.clone();
            }
            if let Some(transfer) = &self.transfer {
                hop.activation = transfer.clone();
                hop.gradient = transfer.clone();
            }
        }
        let times = Times::new(&pipeline, schedule.micro_batches(), self.seed);
        let seed = self.seed;
        let times = match stragglers.is_empty() {
            true => times,
            false => times.slowed_by(Arc::new(move |stage, batch| {
                let of = |straggler: &Straggler| straggler.slowdown(seed, stage, batch);
                stragglers.iter().map(of).sum()
            })),
        };
        Ok(PreparedSimulation {
            schedule,
            cut,
            model: model.map(|model| model.name),
            pipeline,
            batch_size,
            times,
            request: self.clone(),
        })
    }
}

impl PreparedSimulation {
    /// Simulates the run, and tells `on_step` of every action: those of one stage in their order, those of different stages not
    /// in the order of time.
    ///
    /// # Errors
    /// When the schedule's programs do not fit together, which no parsed schedule's do.
    pub fn run(&self, on_step: impl FnMut(Step)) -> Result<Simulated, Error> {
        let Simulation {
            batches, warmup, ..
        } = self.request;
        // Rates leave out the end of a run, in which stages run empty. Batches are added for that part.
        let drain = self.schedule.lead();
        let simulation = stagger_plan::Simulation {
            schedule: &self.schedule,
            times: &self.times,
            batches: batches.saturating_add(warmup).saturating_add(drain),
            warmup,
        };
        Ok(simulation.run(on_step)?)
    }

    /// The same durations under DSP with the least staleness that keeps the busiest stage working for this share of the time, and
    /// whether there is one.
    ///
    /// # Errors
    /// When the stages cannot be simulated.
    pub fn with_least_staleness(&self, share: f64) -> Result<(Self, bool), Error> {
        let search = LeastStaleness {
            share,
            batches: self.request.batches,
            warmup: self.request.warmup,
            ..LeastStaleness::default()
        };
        let found = search.search(&self.times)?;
        let prepared = Self {
            schedule: found.schedule,
            ..self.clone()
        };
        Ok((prepared, found.is_enough))
    }

    /// Batches per second in the long run if everything always took its mean time, without stragglers.
    ///
    /// # Errors
    /// When the schedule does not do the same for every batch.
    pub fn exact_batches_per_second(&self) -> Result<f64, Error> {
        let mean = |distribution: &Distribution| Distribution::Constant(distribution.mean());
        let mut pipeline = self.pipeline.clone();
        for stage in &mut pipeline.stages {
            for time in [
                &mut stage.forward,
                &mut stage.recompute,
                &mut stage.backward,
                &mut stage.update,
                &mut stage.learn,
            ] {
                *time = mean(time);
            }
        }
        for hop in &mut pipeline.hops {
            for time in [&mut hop.activation, &mut hop.gradient, &mut hop.latency] {
                *time = mean(time);
            }
        }
        let times = Times::new(&pipeline, self.schedule.micro_batches(), 0);
        Ok(1e9 / exact_period(&self.schedule, &times)?)
    }
}
