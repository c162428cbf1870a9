//! The constants of docs/theory.md, measured on a model and its data, and what its theorems then say of a run.
//!
//! Along the first updates of the run itself, at some versions, gradients of the same probe batches are taken: at the version, at the
//! next one, and as the method computes them with its stale weights. That gives the smallest constants with which the theory's lines
//! hold there. They are no proven ones: elsewhere in the region of a run the loss may be steeper.

mod error;
mod memory;
mod meter;
mod method;
mod outside;
mod point;
mod versions;

#[cfg(test)]
mod tests;

use stagger_engine::Decay;
use stagger_plan::theory::{Bound, Constants, Momentum, Run};
use stagger_schedule::Convergence;

use crate::balance;
use crate::error::Error;
use crate::job::{Given, Job};
use crate::limits;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_most};
use crate::stages;
use crate::training::{initial_states, refuse_unused_transport};

pub use error::TheoryError;
use meter::Probe;
pub use point::Point;
use versions::Versions;

/// Updates along which constants are measured, unless the request or the end of the run says otherwise.
const STEPS: usize = 64;

/// More updates take longer than anyone waits.
const MOST_STEPS: usize = 1_000_000;

/// Images of more probe batches take more memory than there is.
const MOST_PROBES: usize = 1024;

/// What to measure. Nothing is written.
#[derive(Clone, Debug)]
pub struct Theory {
    /// The run, as for training. Its learning rate is constant and without warm-up unless the options say otherwise, as in the
    /// theorems; its epochs or batches are those that the bound is for.
    pub options: TrainingOptions,
    /// Updates along which constants are measured: at least 1, and 2 where weights are stale. `None` for 64. Where the learning rate
    /// changes, they end with the run: it is not planned any further.
    pub steps: Option<usize>,
    /// Batches whose mean gradient stands for that of the loss, and whose variance is the noise; at least 2.
    pub probe_batches: usize,
}

/// What was measured, and of which run.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The run that was measured, and that the bound is for.
    pub job: Job,
    /// How the theorems apply to its method.
    pub convergence: Convergence,
    /// Its momentum; β = 0 for SGD.
    pub momentum: Momentum,
    /// Updates along which constants were measured.
    pub steps: usize,
    /// Batches of which gradients were taken.
    pub probe_batches: usize,
    /// Images in all of them.
    pub probe_images: usize,
    /// What was measured, by version.
    pub points: Vec<Point>,
    /// What of the run lies outside of the theorems' assumptions: a line each.
    pub outside: Vec<String>,
    /// Lines for people, on the weights that it started from.
    pub notes: Vec<String>,
}

/// What several versions show of one constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimates {
    /// The median; of an even number of them, the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub largest: f64,
    /// Versions that gave a value.
    pub versions: usize,
}

impl Estimates {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let &largest = values.last()?;
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[half - 1], values[half]),
            _ => values[half],
        };
        Some(Self {
            median,
            largest,
            versions: values.len(),
        })
    }
}

impl Theory {
    /// Measures.
    ///
    /// # Errors
    /// As [`Training::run`](crate::Training::run), and [`TheoryError`] for methods and optimizers that the theorems leave out, where the
    /// run is too short to see stale weights, where probe batches do not fit into memory, and where the run diverges.
    pub fn run(&self) -> Result<Measured, Error> {
        self.run_on(&Given::default())
    }

    fn run_on(&self, given: &Given) -> Result<Measured, Error> {
        self.check()?;
        // What the theorems leave out is said before any image is looked at.
        method::check(&self.options)?;
        refuse_unused_transport(&self.options, 1)?;
        let mut job = Job::new(with_constant_rate(&self.options), given)?;
        let convergence = method::convergence(&job.schedule)?;
        let momentum = method::momentum(&job.optimizer)?;
        method::refuse_replicas(&job.replicas)?;
        let steps = self.steps_of(&job)?;
        let places = 0..job.replicas.places();
        stages::check(&job, places.clone())?;
        limits::check(&job, places, false, 0)?;
        memory::check(&job, steps, self.probe_batches)?;
        let mut notes: Vec<String> = limits::cache_note(&job).into_iter().collect();
        notes.extend(balance::resolve(&mut job, None, None)?);
        let states = initial_states(&job, &mut notes)?;

        // Images that cannot be read are found before anything is computed.
        let probes = Probe::read(&job, steps, self.probe_batches)?;
        let versions = Versions::train(&job, convergence, states.as_deref(), steps)?;
        let measured = Measured {
            convergence,
            momentum,
            steps,
            probe_batches: probes.len(),
            probe_images: probes.iter().map(Probe::samples).sum(),
            points: meter::measure(&job, &probes, &versions)?,
            outside: outside::outside(&job),
            notes,
            job,
        };
        measured.check()?;
        Ok(measured)
    }

    /// What the request alone says.
    fn check(&self) -> Result<(), Error> {
        if self.steps == Some(0) {
            return Err(Refusal::Zero { option: "steps" }.into());
        }
        for (option, found, most, kind, expected) in [
            (
                "steps",
                self.steps.unwrap_or(STEPS),
                MOST_STEPS,
                "a number of updates to measure along",
                "at most 1000000, such as 64",
            ),
            (
                "probe_batches",
                self.probe_batches,
                MOST_PROBES,
                "a number of batches to hold in memory",
                "at most 1024, such as 6",
            ),
        ] {
            check_most(option, found, most, kind, expected)?;
        }
        if self.probe_batches < 2 {
            let found = self.probe_batches;
            return Err(TheoryError::Probes { found }.into());
        }
        if self.options.emulate.is_some() {
            return Err(TheoryError::Emulated.into());
        }
        if self.options.sync_batch_norm == Some(true) {
            return Err(TheoryError::Synchronized.into());
        }
        Ok(())
    }

    /// Updates along which the run is measured.
    fn steps_of(&self, job: &Job) -> Result<usize, TheoryError> {
        let planned = job.horizon.batches;
        let steps = match (self.steps, rate_changes(job)) {
            (None, true) => STEPS.min(planned),
            (Some(found), true) if found > planned => {
                return Err(TheoryError::PastTheEnd { found, planned });
            }
            (given, _) => given.unwrap_or(STEPS),
        };
        // The first version of all stages is the initial one, stale or not.
        if steps < 2 && is_stale(job) {
            return Err(TheoryError::NothingStale {
                schedule: job.schedule.to_string(),
                steps,
            });
        }
        Ok(steps)
    }
}

fn is_stale(job: &Job) -> bool {
    let policies = job.schedule.policies();
    policies.iter().any(|policy| policy.staleness > 0)
}

/// Whether batches have different learning rates.
fn rate_changes(job: &Job) -> bool {
    let rate = &job.learning_rate;
    rate.decay != Decay::Constant || rate.warmup.batches > 0
}

/// The theorems have one rate for the whole run.
fn with_constant_rate(said: &TrainingOptions) -> TrainingOptions {
    let mut options = said.clone();
    if options.lr_schedule.is_none() {
        options.lr_schedule = Some("constant".to_owned());
        options.warmup_batches.get_or_insert(0);
    }
    TrainingOptions {
        // The run that is measured is none to evaluate, to time or to go on from.
        evaluate: Some(false),
        keep_snapshots: Some(0),
        calibration_batches: Some(0),
        gap_every: Some(0),
        ..options
    }
}

impl Measured {
    /// Makes sure that there is something to see of every constant, which only the measured weights tell.
    fn check(&self) -> Result<(), TheoryError> {
        if self.smoothness().largest == 0.0 {
            return Err(TheoryError::Still);
        }
        // Without a value of S nothing says how much less than 1/L the rate has to be.
        if self.spread().is_none() && is_stale(&self.job) {
            return Err(TheoryError::StaleStill {
                schedule: self.job.schedule.to_string(),
                steps: self.steps,
            });
        }
        Ok(())
    }

    /// `L` of (11), from below: how fast the gradient turns along an update.
    #[must_use]
    pub fn smoothness(&self) -> Estimates {
        let found = self.points.iter().filter_map(|point| point.curvature);
        Estimates::of(found).unwrap_or(Estimates {
            median: 0.0,
            largest: 0.0,
            versions: 0,
        })
    }

    /// `S` of (10), from below: bias per distance of the stale weights. `None` where nothing is stale.
    #[must_use]
    pub fn spread(&self) -> Option<Estimates> {
        Estimates::of(self.points.iter().filter_map(Point::spread))
    }

    /// `σ_k²` of each stage: the largest variance of the gradient of a batch at any measured version.
    #[must_use]
    pub fn noise(&self) -> Vec<f64> {
        let of = |k: usize| self.points.iter().map(move |point| point.noise[k]);
        let stages = 0..self.job.schedule.stages();
        stages.map(|k| of(k).fold(0.0, f64::max)).collect()
    }

    /// What `F(w⁰) − F_*` is at most: a cross-entropy is never below 0.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.points.first().map_or(0.0, |point| point.loss)
    }

    /// The mean of `‖∇F‖²` over the measured versions.
    #[must_use]
    pub fn mean_gradient(&self) -> f64 {
        let sum: f64 = self.points.iter().map(|point| point.gradient).sum();
        sum / self.points.len().max(1) as f64
    }

    /// `m_k` of each stage.
    #[must_use]
    pub fn staleness(&self) -> Vec<usize> {
        let policies = self.job.schedule.policies();
        policies.iter().map(|policy| policy.staleness).collect()
    }

    /// The largest `L` and `S`, and `D = S max m_k`.
    #[must_use]
    pub fn constants(&self) -> Constants {
        let spread = self.spread().map_or(0.0, |spread| spread.largest);
        Constants::with_spread(self.smoothness().largest, spread, &self.staleness())
    }

    /// The same of the medians.
    #[must_use]
    pub fn median_constants(&self) -> Constants {
        let spread = self.spread().map_or(0.0, |spread| spread.median);
        Constants::with_spread(self.smoothness().median, spread, &self.staleness())
    }

    /// The same as [`Measured::constants`] for the same run if nothing were stale.
    #[must_use]
    pub fn fresh_constants(&self) -> Constants {
        Constants::with_spread(self.smoothness().largest, 0.0, &[])
    }

    /// `η` of an `η̂`: the learning rate that the optimizer has then.
    #[must_use]
    pub fn learning_rate(&self, rate: f64) -> f64 {
        rate * (1.0 - self.momentum.beta)
    }

    /// `η̂` of the run.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.job.learning_rate.base / (1.0 - self.momentum.beta)
    }

    /// `T`: the updates that the bound is for.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.job.horizon.batches
    }

    /// The right side of (25), or of (23) for SGD, at a rate `η̂`, with the largest constants. `None` where (24) does not allow it.
    #[must_use]
    pub fn bound(&self, rate: f64) -> Option<Bound> {
        let constants = self.constants();
        let kappa = constants.kappa(self.momentum, rate)?;
        let (staleness, noise) = (self.staleness(), self.noise());
        let run = Run {
            height: self.height(),
            updates: self.updates(),
            staleness: &staleness,
            noise: &noise,
        };
        Some(constants.bound(self.momentum, &run, rate, kappa))
    }

    /// The largest `η̂` that (24) allows, or (22) for SGD, with the largest constants.
    #[must_use]
    pub fn largest_rate(&self) -> f64 {
        self.constants().largest_rate(self.momentum)
    }
}
