//! Which runs a comparison of methods has, and what each of them is.

use serde::{Deserialize, Serialize};
use stagger_schedule::Schedule;

use super::{ComparisonError, SeriesCheck, usual_options};
use crate::error::Error;
use crate::job::{Job, needs_snapshots};
use crate::options::TrainingOptions;

/// A batch takes a hundred and one times as long then: the most that a [`Straggler`](stagger_runtime::Straggler) does.
const LARGEST_SLOWDOWN_PERCENT: f64 = 10_000.0;

/// Runs that compare methods: each method with each seed at each slow-down, and everything else alike.
///
/// ```
/// use stagger::TrainingOptions;
/// use stagger::series::ComparedMethods;
///
/// let compared = ComparedMethods {
///     methods: vec!["bp".into(), "dsp".into()],
///     seeds: vec![1, 2],
///     train: TrainingOptions { max_batches: Some(80), ..TrainingOptions::default() },
///     ..ComparedMethods::default()
/// };
/// compared.check()?;
/// let runs = compared.runs().iter().map(|run| format!("{} {}", run.method, run.seed)).collect::<Vec<_>>();
/// assert_eq!(runs, ["bp 1", "dsp 1", "dsp 2", "bp 2"]);
/// # Ok::<(), stagger::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComparedMethods {
    /// The methods' notations, each once.
    pub methods: Vec<String>,
    /// The seeds, each once.
    pub seeds: Vec<u64>,
    /// By how many percent all stages are slowed down at random, 0 to 10,000, each once; `[0.0]` without slow-downs.
    pub slowdowns: Vec<f64>,
    /// The probability with which a stage is slowed down for a batch, above 0 and up to 1. Default:
    /// [`STRAGGLER_PROBABILITY`](Self::STRAGGLER_PROBABILITY).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub straggler_probability: Option<f64>,
    /// What all runs have in common: no schedule, seed and output, and nothing that ends one run before the others.
    pub train: TrainingOptions,
}

/// One run of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedRun {
    /// The method, as it was named.
    pub method: String,
    /// How much stages are slowed down, in percent.
    pub slowdown_percent: f64,
    /// The seed.
    pub seed: u64,
}

/// No methods, with seed 1 and without slow-downs.
impl Default for ComparedMethods {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            seeds: vec![1],
            slowdowns: vec![0.0],
            straggler_probability: None,
            train: TrainingOptions::default(),
        }
    }
}

impl ComparedMethods {
    /// About one in three, as in the experiment of the paper.
    pub const STRAGGLER_PROBABILITY: f64 = 0.3333;

    /// The runs, in the order in which they are best made: that of the methods turns round with each seed, so that a machine that gets
    /// slower over time hits all of them alike.
    #[must_use]
    pub fn runs(&self) -> Vec<ComparedRun> {
        let mut pairs: Vec<(f64, &String)> = Vec::new();
        for slowdown in &self.slowdowns {
            pairs.extend(self.methods.iter().map(|method| (*slowdown, method)));
        }
        let mut runs = Vec::with_capacity(pairs.len() * self.seeds.len());
        for &seed in &self.seeds {
            runs.extend(pairs.iter().map(|&(slowdown_percent, method)| ComparedRun {
                method: method.clone(),
                slowdown_percent,
                seed,
            }));
            pairs.reverse();
        }
        runs
    }

    /// The options of a run, with the [usual ones](usual_options) of a series. Its batches are of the usual size, whatever a method makes of them: the budget is the same for all.
    #[must_use]
    pub fn options(&self, run: &ComparedRun) -> TrainingOptions {
        let stages = self.stages_of(&run.method);
        let schedule = Schedule::parse(&run.method, stages);
        let accumulated = schedule.map_or(1, |schedule| schedule.accumulated_batches());
        let max_batches = self.train.max_batches;
        TrainingOptions {
            schedule: Some(run.method.clone()),
            stages,
            seed: Some(run.seed),
            sync_batch_norm: self.synchronizes(&run.method),
            max_batches: max_batches.map(|batches| batches.div_ceil(accumulated)),
            straggler: match self.straggler(run.slowdown_percent) {
                Some(straggler) => Some(vec![straggler]),
                None => self.train.straggler.clone(),
            },
            ..self.train.clone()
        }
        .or(usual_options(needs_snapshots(&self.train)))
    }

    /// What slows the stages of a run down, in the notation of [`Straggler`](stagger_runtime::Straggler).
    fn straggler(&self, slowdown_percent: f64) -> Option<String> {
        let said = self.straggler_probability;
        let probability = said.unwrap_or(Self::STRAGGLER_PROBABILITY);
        (slowdown_percent > 0.0)
            .then(|| format!("stage=*,probability={probability},slowdown={slowdown_percent}%"))
    }

    /// Stages of a method's run: those that are asked for, or what its notation says, or the default. Data parallelism has one
    /// whatever is asked for, as its devices hold the whole network each.
    fn stages_of(&self, method: &str) -> Option<usize> {
        let fixed = Schedule::parse(method, None).ok();
        let own = fixed.as_ref().map(Schedule::stages);
        if fixed.is_some_and(|schedule| schedule.replicas().is_some()) {
            return own;
        }
        self.train
            .stages
            .or(own)
            .or(TrainingOptions::defaults().stages)
    }

    /// Whether a method's run normalises over replicas, where that is asked for. A method without replicas has none to do it with
    /// and runs as it is, beside others that have some; if no method has any, all are asked, and the first refuses.
    fn synchronizes(&self, method: &str) -> Option<bool> {
        let asked = self.train.sync_batch_norm;
        let several = |counts: &Vec<usize>| counts.iter().any(|&count| count > 1);
        let of_all = self.train.replicas.as_ref().is_some_and(several);
        let has = |method: &str| {
            let schedule = Schedule::parse(method, self.stages_of(method)).ok();
            let own = schedule.and_then(|schedule| schedule.replicas());
            own.map_or(of_all, |own| own > 1)
        };
        asked.filter(|_| has(method) || !self.methods.iter().any(|method| has(method)))
    }

    /// Refuses what makes no comparison, before any image is opened.
    ///
    /// # Errors
    /// On the first field that is wrong.
    pub fn validate(&self) -> Result<(), ComparisonError> {
        for (field, is_empty) in [
            ("methods", self.methods.is_empty()),
            ("seeds", self.seeds.is_empty()),
            ("slowdowns", self.slowdowns.is_empty()),
        ] {
            if is_empty {
                return Err(ComparisonError::Empty { field });
            }
        }
        if let Some(method) = twice(&self.methods) {
            let method = method.clone();
            return Err(ComparisonError::MethodTwice { method });
        }
        if let Some(seed) = twice(&self.seeds) {
            return Err(ComparisonError::Twice {
                field: "seeds",
                noun: "seed",
                found: seed.to_string(),
            });
        }
        self.validate_slowdowns()?;
        for (option, field, is_said) in [
            ("schedule", "methods", self.train.schedule.is_some()),
            ("seed", "seeds", self.train.seed.is_some()),
        ] {
            if is_said {
                return Err(ComparisonError::OfEachRun { option, field });
            }
        }
        if self.train.output.is_some() {
            return Err(ComparisonError::OneFolder);
        }
        for (option, is_said) in [
            ("patience", self.train.patience.is_some()),
            ("target", self.train.target.is_some()),
        ] {
            if is_said {
                return Err(ComparisonError::EndsEarly { option });
            }
        }
        Ok(())
    }

    fn validate_slowdowns(&self) -> Result<(), ComparisonError> {
        let is_outside = |percent: &&f64| !(0.0..=LARGEST_SLOWDOWN_PERCENT).contains(*percent);
        if let Some(&found) = self.slowdowns.iter().find(is_outside) {
            return Err(ComparisonError::Slowdown { found });
        }
        if let Some(slowdown) = twice(&self.slowdowns) {
            return Err(ComparisonError::Twice {
                field: "slowdowns",
                noun: "slow-down",
                found: slowdown.to_string(),
            });
        }
        let slows = self.slowdowns.iter().any(|percent| *percent > 0.0);
        match self.straggler_probability {
            Some(_) if !slows => return Err(ComparisonError::ProbabilityAlone),
            Some(found) if !(found > 0.0 && found <= 1.0) => {
                return Err(ComparisonError::Probability { found });
            }
            _ => {}
        }
        let says_some = |straggler: &Vec<String>| !straggler.is_empty();
        match slows && self.train.straggler.as_ref().is_some_and(says_some) {
            true => Err(ComparisonError::SlowedTwice),
            false => Ok(()),
        }
    }

    /// Engines that are named stage by stage are for one number of stages.
    fn refuse_other_stages(&self) -> Result<(), ComparisonError> {
        let Some(engines) = &self.train.engines else {
            return Ok(());
        };
        for method in &self.methods {
            let stages = self.stages_of(method).unwrap_or_default();
            if stages != engines.len() {
                return Err(ComparisonError::Engines {
                    found: engines.len(),
                    method: method.clone(),
                    stages,
                });
            }
        }
        Ok(())
    }

    /// Opens the images and builds each method's job, with the first seed and without slow-down, so that whatever is wrong is told before
    /// the first run.
    ///
    /// # Errors
    /// On the first field, method or option that is wrong.
    pub fn check(&self) -> Result<Vec<Job>, Error> {
        self.validate()?;
        self.refuse_other_stages()?;
        let mut series = SeriesCheck::default();
        let mut jobs = Vec::with_capacity(self.methods.len());
        for method in &self.methods {
            if !jobs.is_empty() {
                // An error of the notation names the method itself.
                Schedule::parse(method, self.stages_of(method))?;
            }
            let checked = series.check(self.options(&ComparedRun {
                method: method.clone(),
                slowdown_percent: 0.0,
                seed: self.seeds[0],
            }));
            // What is wrong with all of them is told of the first.
            let is_of_method =
                |error: &Error| !jobs.is_empty() || matches!(error, Error::Stage { .. });
            let job = checked.map_err(|error| match is_of_method(&error) {
                true => ComparisonError::Method {
                    method: method.clone(),
                    why: Box::new(error),
                }
                .into(),
                false => error,
            })?;
            jobs.push(job);
        }
        Ok(jobs)
    }
}

fn twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    let mut entries = list.iter().enumerate();
    entries.find_map(|(at, entry)| list[..at].contains(entry).then_some(entry))
}

#[cfg(test)]
mod tests;
