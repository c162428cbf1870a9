//! A run on paper: what a schedule would reach with given durations.

use std::sync::Arc;

use stagger_model::{Balance, Cut};
use stagger_plan::{
    Distribution, LeastStaleness, Pauses, Pipeline, Simulated, Step, Times, exact_period,
};
use stagger_runtime::Straggler;
use stagger_schedule::{Place, Replicas, Schedule};

use crate::balance::{
    EstimateFor, ToCut, check_profile, cut_of_profile, first_cut, read_profile, unread_memory,
};
use crate::durations::{self, Durations, DurationsChoice, DurationsError, Stages, check_time};
use crate::error::Error;
use crate::job::{replicas, stragglers};
use crate::refusal::{Refusal, check_most};

/// What momentum keeps, in values per parameter.
const MOMENTUM_SLOTS: usize = 1;

/// Most evaluations, and most snapshots, of a simulation: each is listed in the memory of every stage.
const MOST_PAUSES: usize = 1_000_000;

/// Batches of a simulation: of one stage they take seconds.
const MOST_BATCHES: usize = 100_000_000;

/// Far more batches than there are between evaluations, or in one.
const MOST_PAUSE_BATCHES: usize = 1_000_000_000;

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
    /// The engine that the estimate of balance `auto` is for. Nothing else goes by it.
    pub estimate_for: EstimateFor,
    /// Samples per batch; those of the profile's micro-batch where it is not said.
    pub batch_size: Option<usize>,
    /// From the end of sending to arrival, for all messages, instead of what a profile says.
    pub latency: Option<Distribution>,
    /// How long each activation and each gradient occupies its link, instead of what a profile says; the parts that go to or come
    /// from replicas occupy theirs for their shares of that. It says nothing of sums of gradients.
    pub transfer: Option<Distribution>,
    /// Stages that are slowed down, each as [`Straggler`] reads it: all replicas of a stage at the same batches.
    pub stragglers: Vec<String>,
    /// Evaluations, and how often; none without it.
    pub evaluations: Option<SimulatedEvaluations>,
    /// Snapshots, and how often; none without it.
    pub snapshots: Option<SimulatedSnapshots>,
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
            estimate_for: EstimateFor::default(),
            batch_size: None,
            latency: None,
            transfer: None,
            stragglers: Vec::new(),
            evaluations: None,
            snapshots: None,
            batches: 1000,
            warmup: 100,
            // As `stagger simulate` has it.
            seed: 1,
        }
    }
}

/// Evaluations of a simulated run. Each stage takes the time of its forward passes for all of their batches, and does not wait for the
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedEvaluations {
    /// Batches of training from one to the next.
    pub every: usize,
    /// Batches of an evaluation, as large as those of training.
    pub batches: usize,
}

/// Snapshots of a simulated run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulatedSnapshots {
    /// Batches from one to the next.
    pub every: usize,
    /// How long each stage is held up by one, in seconds.
    pub seconds: f64,
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
    /// A line for people where the memory that the profile allows its devices is not looked at.
    pub unread_memory: Option<String>,
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
        self.check_batches()?;
        self.check_times()?;
        self.batch_size
            .map_or(Ok(()), durations::check_batch_size)?;
        self.check_pauses()?;
        let stragglers = stragglers(&self.stragglers, schedule.stages())?;
        self.refuse_idle_engines()?;
        let durations = self.durations.read()?;
        let own = match &self.durations {
            DurationsChoice::File(path) => path.as_path(),
            DurationsChoice::Equal(_) => "".as_ref(),
        };
        let model = durations.model(own)?;
        let mut memory_note = None;
        let (cut, batch_size) = match (&durations, &model) {
            (Durations::Profile(profile), Some(model)) => {
                let batch_size = self.batch_size.unwrap_or(profile.samples);
                check_batch_size(batch_size, &model.name, &schedule, replicas.most())?;
                let run = ToCut {
                    model,
                    schedule: &schedule,
                    replicas: Some(&replicas),
                    batch_size,
                    optimizer_slots: MOMENTUM_SLOTS,
                    computes: None,
                };
                check_profile(profile, own, &run).map_err(DurationsError::from)?;
                let balance: Option<Balance> =
                    self.balance.as_deref().map(str::parse).transpose()?;
                let said = balance.as_ref().unwrap_or(&Balance::Profile);
                memory_note = unread_memory(profile, own, said);
                let cut = match balance {
                    None | Some(Balance::Profile) => cut_of_profile(profile, own, &run)?.0,
                    Some(Balance::File(other)) => {
                        let profile = read_profile(&other).map_err(DurationsError::from)?;
                        cut_of_profile(&profile, &other, &run)?.0
                    }
                    Some(balance) => {
                        let estimate = self.estimate_for.estimate(schedule.stages())?;
                        first_cut(&balance, &run, &estimate.costs)?.cut
                    }
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
                    check_batch_size(batch_size, "equal stages", &schedule, replicas.most())?;
                }
                (None, self.batch_size)
            }
        };
        let stages = Stages {
            schedule: &schedule,
            replicas: &replicas,
            cut: cut.as_ref(),
        };
        let mut pipeline = match (durations.pipeline(&stages, batch_size), &self.durations) {
            (Ok(pipeline), _) => pipeline,
            (Err(error), DurationsChoice::File(path)) => return Err(error.of_file(path).into()),
            (Err(error), DurationsChoice::Equal(_)) => return Err(error.into()),
        };
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
            unread_memory: memory_note,
            times,
            request: self.clone(),
        })
    }
}

impl Simulation {
    fn check_batches(&self) -> Result<(), Refusal> {
        if self.batches == 0 {
            return Err(Refusal::Zero { option: "batches" });
        }
        for (option, found) in [("batches", self.batches), ("warmup", self.warmup)] {
            let kind = "a number of batches to simulate";
            check_most(option, found, MOST_BATCHES, kind, "at most 100000000")?;
        }
        Ok(())
    }

    /// Times that were read from a text have been checked there.
    fn check_times(&self) -> Result<(), Refusal> {
        let equal = match self.durations {
            DurationsChoice::Equal(seconds) => Some(Distribution::Constant(seconds)),
            DurationsChoice::File(_) => None,
        };
        let snapshot = self.snapshots.map(|of| Distribution::Constant(of.seconds));
        for (option, time) in [
            ("profile", equal.as_ref()),
            ("latency", self.latency.as_ref()),
            ("transfer", self.transfer.as_ref()),
            ("snapshot_time", snapshot.as_ref()),
        ] {
            check_time(option, time)?;
        }
        Ok(())
    }

    fn check_pauses(&self) -> Result<(), Refusal> {
        let evaluations = self.evaluations.as_ref();
        let snapshots = self.snapshots.as_ref();
        for (option, found) in [
            ("evaluate_every", evaluations.map(|of| of.every)),
            ("evaluation_batches", evaluations.map(|of| of.batches)),
            ("snapshot_every", snapshots.map(|of| of.every)),
        ] {
            match found {
                Some(0) => return Err(Refusal::Zero { option }),
                Some(batches) if batches > MOST_PAUSE_BATCHES => {
                    return Err(Refusal::Value {
                        option,
                        found: batches.to_string(),
                        kind: "a number of batches to simulate",
                        expected: "at most 1000000000",
                    });
                }
                _ => {}
            }
        }
        for (option, every) in [
            ("evaluate_every", evaluations.map(|of| of.every)),
            ("snapshot_every", snapshots.map(|of| of.every)),
        ] {
            let least = self.batches.saturating_add(self.warmup) / MOST_PAUSES;
            let is_seen = |every: usize| every <= self.batches && every > least;
            if let Some(every) = every.filter(|&every| !is_seen(every)) {
                return Err(Refusal::Value {
                    option,
                    found: every.to_string(),
                    kind: "a number of batches from one to the next",
                    expected: "at most the batches that are simulated, and no less than a millionth of them",
                });
            }
        }
        Ok(())
    }

    /// Refuses what is said of engines where nothing is estimated.
    fn refuse_idle_engines(&self) -> Result<(), Error> {
        let Some(option) = self.estimate_for.first_said() else {
            return Ok(());
        };
        let balance = self.balance.as_deref().map(str::parse).transpose()?;
        let (beside, found, expected) = match (&self.durations, balance) {
            (DurationsChoice::Equal(_), _) => ("profile", "equal:…".to_owned(), "FILE"),
            (DurationsChoice::File(_), Some(Balance::Auto)) => return Ok(()),
            (DurationsChoice::File(_), None) => ("balance", Balance::Profile.to_string(), "auto"),
            (DurationsChoice::File(_), Some(said)) => ("balance", said.to_string(), "auto"),
        };
        Err(Refusal::Unused {
            option,
            beside,
            found,
            expected,
        }
        .into())
    }
}

impl PreparedSimulation {
    /// Simulates the run, and tells `on_step` of every action: those of one stage in their order, those of different stages not
    /// in the order of time.
    ///
    /// # Errors
    /// When nothing takes any time; and when the schedule's programs do not fit together, which no parsed schedule's do.
    pub fn run(&self, on_step: impl FnMut(Step)) -> Result<Simulated, Error> {
        let simulation = stagger_plan::Simulation {
            schedule: &self.schedule,
            times: &self.times,
            batches: self.batches_in_all(),
            warmup: self.request.warmup,
        };
        let simulated = simulation.run_with(&self.pauses(), on_step)?;
        if simulated.wall_seconds <= 0.0 {
            let what = "everything that is simulated".to_owned();
            return Err(DurationsError::NoTime { what }.into());
        }
        Ok(simulated)
    }

    /// Batches that are simulated: those of the warm-up, those that are counted, and, as rates leave out the end of a run, in which stages
    /// run empty, as many more as stages are ahead.
    #[must_use]
    pub fn batches_in_all(&self) -> usize {
        let Simulation {
            batches, warmup, ..
        } = self.request;
        let drain = self.schedule.lead();
        batches.saturating_add(warmup).saturating_add(drain)
    }

    /// What each place takes for evaluations and snapshots.
    fn pauses(&self) -> Pauses {
        let Simulation {
            evaluations,
            snapshots,
            ..
        } = &self.request;
        let micro_batches = self.schedule.micro_batches() as f64;
        let batches = evaluations.map_or(0, |evaluations| evaluations.batches) as f64;
        let forwards = self.pipeline.places.iter();
        let evaluation = forwards.map(|place| batches * micro_batches * place.forward.mean());
        Pauses {
            evaluate_every: evaluations.map_or(0, |evaluations| evaluations.every),
            evaluation: evaluation.collect(),
            snapshot_every: snapshots.map_or(0, |snapshots| snapshots.every),
            snapshot: snapshots.map_or(0.0, |snapshots| snapshots.seconds),
        }
    }

    /// The same durations under DSP with the least staleness that keeps the busiest stage working for this share of the time, and
    /// whether there is one. It splits its backward passes if the schedule does. Evaluations and snapshots are left out of the search.
    ///
    /// # Errors
    /// When the schedule is neither `dsp` nor `dsp + split`: others do other work for a batch, or have a staleness of their own. When the
    /// share is not above 0 and below 1, and when the stages cannot be simulated.
    pub fn with_least_staleness(&self, share: f64) -> Result<(Self, bool), Error> {
        let said = self.request.schedule.to_lowercase();
        let words: String = said.split_whitespace().collect();
        if !matches!(words.as_str(), "dsp" | "dsp+split") {
            let found = self.request.schedule.clone();
            return Err(Refusal::KeepBusy { found }.into());
        }
        if !(share > 0.0 && share < 1.0) {
            return Err(Refusal::Value {
                option: "keep_busy",
                found: share.to_string(),
                kind: "a share of the time",
                expected: "one above 0 and below 1, such as 0.99",
            }
            .into());
        }
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

    /// Batches per second in the long run if everything always took its mean time, without stragglers, evaluations and snapshots.
    ///
    /// # Errors
    /// When the schedule does not do the same for every batch.
    pub fn exact_batches_per_second(&self) -> Result<f64, Error> {
        let times = Times::new(&self.pipeline.means(), self.schedule.micro_batches(), 0);
        Ok(1e9 / exact_period(&self.schedule, &times)?)
    }
}

/// Makes sure that every replica has a sample of every micro-batch.
pub(crate) fn check_batch_size(
    found: usize,
    model: &str,
    schedule: &Schedule,
    most_replicas: usize,
) -> Result<(), Refusal> {
    let least = schedule.micro_batches() * most_replicas;
    if found >= least {
        return Ok(());
    }
    let reason = match most_replicas > 1 {
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
