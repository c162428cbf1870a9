//! A run on paper: what a schedule would reach with given durations.

use std::sync::Arc;

use stagger_model::{Balance, CostModel, Cut};
use stagger_plan::{Distribution, LeastStaleness, Pipeline, Simulated, Step, Times, exact_period};
use stagger_runtime::Straggler;
use stagger_schedule::{Place, Replicas, Schedule};

use crate::balance::{ToCut, check_profile, cut_of_profile, first_cut, read_profile};
use crate::durations::{Durations, DurationsChoice, DurationsError, Stages};
use crate::error::Error;
use crate::job::{replicas, stragglers};
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
    /// Copies of each stage that share every batch: one number for all stages, or one for each. `None` for what the notation says.
    pub replicas: Option<Vec<usize>>,
    /// How long everything takes.
    pub durations: DurationsChoice,
    /// How a profile's blocks are cut: `profile` (by itself), `uniform`, `auto` (by an estimate), or numbers of blocks.
    pub balance: Option<String>,
    /// Samples per batch; those of the profile's micro-batch where it is not said.
    pub batch_size: Option<usize>,
    /// From the end of sending to arrival, for all messages, instead of what a profile says.
    pub latency: Option<Distribution>,
    /// How long each activation and each gradient occupies its link, instead of what a profile says; the parts that go to or come
    /// from replicas occupy theirs for their shares of that. It says nothing of sums of gradients.
    pub transfer: Option<Distribution>,
    /// Stages that are slowed down, each as [`Straggler`] reads it: all replicas of a stage at the same batches.
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
            replicas: None,
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
    /// Copies of each stage.
    pub replicas: Replicas,
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
        let replicas = replicas(self.replicas.as_deref(), &schedule)?;
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
                check_batch_size(batch_size, &model.name, &schedule, &replicas)?;
                let run = ToCut {
                    model,
                    schedule: &schedule,
                    replicas: Some(&replicas),
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
                    Some(balance) => first_cut(&balance, &run, &CostModel::DIRECT_SUMS)?.0,
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
            _ => {
                if let Some(batch_size) = self.batch_size {
                    check_batch_size(batch_size, "equal stages", &schedule, &replicas)?;
                }
                (None, self.batch_size)
            }
        };
        let stages = Stages {
            schedule: &schedule,
            replicas: &replicas,
            cut: cut.as_ref(),
        };
        let mut pipeline = durations.pipeline(&stages, batch_size)?;
        if let Some(latency) = &self.latency {
            pipeline.set_latency(latency);
        }
        if let Some(transfer) = &self.transfer {
            let samples = batch_size.map(|size| size.div_ceil(schedule.micro_batches()));
            pipeline.set_transfers(transfer, samples);
        }
        let times = Times::new(&pipeline, schedule.micro_batches(), self.seed);
        let seed = self.seed;
        let times = match stragglers.is_empty() {
            true => times,
            false => times.slowed_by(Arc::new(move |place: Place, batch| {
                let of = |straggler: &Straggler| straggler.slowdown(seed, place.stage, batch);
                stragglers.iter().map(of).sum()
            })),
        };
        Ok(PreparedSimulation {
            schedule,
            replicas,
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
    /// whether there is one. It splits its backward passes if the schedule does.
    ///
    /// # Errors
    /// When the stages cannot be simulated.
    pub fn with_least_staleness(&self, share: f64) -> Result<(Self, bool), Error> {
        // Of at least as many batches as it takes to tell shares apart.
        let usual = LeastStaleness::default();
        let search = LeastStaleness {
            share,
            batches: self.request.batches.max(usual.batches),
            warmup: self.request.warmup.max(usual.warmup),
            split: self.schedule.is_split(),
            ..usual
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
        let times = Times::new(&self.pipeline.means(), self.schedule.micro_batches(), 0);
        Ok(1e9 / exact_period(&self.schedule, &times)?)
    }
}

/// Makes sure that every replica has a sample of every micro-batch.
fn check_batch_size(
    found: usize,
    model: &str,
    schedule: &Schedule,
    replicas: &Replicas,
) -> Result<(), Refusal> {
    let least = schedule.micro_batches() * replicas.most();
    if found >= least {
        return Ok(());
    }
    let reason = match replicas.any() {
        false => "each micro-batch needs a sample",
        true => "each replica's share of a micro-batch needs a sample",
    };
    Err(Refusal::BatchSize {
        found,
        model: model.to_owned(),
        schedule: schedule.to_string(),
        reason: reason.to_owned(),
        least,
    })
}
