//! Going on from where a run was planned to end: a longer horizon than it had.

use stagger_engine::LearningRate;
use stagger_runtime::snapshot::Snapshot;
use stagger_schedule::Horizon;

use super::session::StartPoint;
use crate::error::Error;
use crate::job::{Job, learning_rate};
use crate::options::TrainingOptions;

/// Options that say how long a run is. A resumed run may be longer than it was.
const LENGTH: [&str; 2] = ["epochs", "max-batches"];

/// Options that say its learning rates. A run that is at its end may go on with others.
const RATE: [&str; 8] = [
    "lr",
    "lr-gamma",
    "lr-last",
    "lr-power",
    "lr-restart",
    "lr-schedule",
    "lr-steps",
    "warmup-batches",
];

/// The options of a run as far as they hold for its continuation, beside what is said now.
pub fn still_holds(stored: &TrainingOptions, said: &TrainingOptions) -> TrainingOptions {
    let mut stored = stored.clone();
    // A time limit is one of the process that was given it.
    stored.max_seconds = None;
    if said.max_batches.is_none() && said.epochs > stored.epochs {
        stored.max_batches = None;
    }
    let is_other = |said: &String| Some(said) != stored.lr_schedule.as_ref();
    if said.lr_schedule.as_ref().is_some_and(is_other) {
        let before = stored.lr_schedule.as_deref();
        // Its way up is no warm-up of another schedule, and theirs is not its way up.
        if [before, said.lr_schedule.as_deref()].contains(&Some("one-cycle")) {
            stored.warmup_batches = None;
        }
        (stored.lr_steps, stored.lr_gamma) = (None, None);
        (stored.lr_last, stored.lr_power, stored.lr_restart) = (None, None, None);
    }
    stored
}

/// A run that is resumed, beside what it was when it was left.
pub struct Extension<'a> {
    job: &'a Job,
    then: &'a TrainingOptions,
    /// Batches that it was planned for.
    planned: usize,
    /// Batches that it has trained.
    version: usize,
}

impl<'a> Extension<'a> {
    /// Of the run that is `job` now and had the options `then` when it was at `version`.
    pub fn new(job: &'a Job, then: &'a TrainingOptions, version: usize) -> Self {
        let per_epoch = job.sampler.batches_per_epoch();
        let epochs = then.epochs.unwrap_or_default().saturating_mul(per_epoch);
        Self {
            job,
            then,
            planned: epochs.min(then.max_batches.unwrap_or(epochs)),
            version,
        }
    }

    fn is_longer(&self) -> bool {
        self.job.horizon.batches > self.planned
    }

    /// Whether the run may be resumed with another value of the option than the snapshot has. `is_its_own`: the run's folder has that
    /// value already, so the run was made longer with it, and resumes from a snapshot before its former end.
    pub fn allows(&self, option: &str, is_its_own: bool) -> bool {
        let is_at_end = is_its_own || self.version > 0 && self.version >= self.planned;
        (LENGTH.contains(&option) && self.job.horizon.batches >= self.planned)
            || (RATE.contains(&option) && self.is_longer() && is_at_end)
    }

    /// The line on how far it goes and what becomes of its learning rates, where it is longer than it was.
    pub fn note(&self, factor: f64) -> Result<Option<String>, Error> {
        if !self.is_longer() || self.version == 0 {
            return Ok(None);
        }
        let (planned, now) = (self.planned, self.job.horizon.batches);
        let (was, is) = (self.rate_then()?, &self.job.learning_rate);
        let rate = |plan: &LearningRate, batch: usize| significant(factor * plan.at(batch));
        let next = rate(is, self.version);
        let length = format!("the run goes on to version {now} instead of {planned}");
        if was == *is {
            return Ok(Some(format!(
                "{length}; its learning rates stay as planned: the next batch has {next}"
            )));
        }
        let last = rate(&was, self.version - 1);
        let choice = match self.version >= planned {
            true => "; --lr-schedule, --lr-steps and --lr may say otherwise",
            false => "",
        };
        Ok(Some(format!(
            "{length}; its learning rates are from here on those of a run of {now} batches ({}): the last batch had {last}, the \
             next one has {next}{choice}",
            self.job.options.lr_schedule.as_deref().unwrap_or("given"),
        )))
    }

    /// The learning rates that were planned.
    fn rate_then(&self) -> Result<LearningRate, Error> {
        if self.then.lr_schedule.is_none() || self.job.has_given_rate {
            return Ok(self.job.learning_rate.clone());
        }
        let per_epoch = self.job.sampler.batches_per_epoch();
        let epochs = self.then.epochs.unwrap_or_default();
        let mut options = self.then.clone();
        Ok(learning_rate(
            &mut options,
            epochs,
            per_epoch,
            self.planned,
        )?)
    }
}

/// Where the pipeline of a run has run empty before its end, so that a snapshot of it fits: at the former end, if that is why
/// less is in flight than the longer run would have there.
pub fn drains(job: &Job, from: &StartPoint, then: &TrainingOptions) -> Vec<usize> {
    let mut drains = from.progress.drained_at.clone();
    let Some(snapshot) = &from.snapshot else {
        return drains;
    };
    let extension = Extension::new(job, then, snapshot.version);
    if extension.is_longer() && !fits(job, snapshot, &drains) {
        drains.push(extension.planned);
    }
    drains
}

/// Whether every stage has as much in flight as its program has there.
fn fits(job: &Job, snapshot: &Snapshot, drains: &[usize]) -> bool {
    let horizon = Horizon {
        drain_at: drains.to_vec(),
        ..job.horizon.clone()
    };
    let mut stages = snapshot.stages.iter().enumerate();
    stages.all(|(stage, found)| {
        stage < job.schedule.stages()
            && job
                .schedule
                .program(stage, &horizon)
                .skip_to(snapshot.version)
                == found.pipeline.kept.len()
    })
}

/// A number with three digits that count.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (2.0 - value.abs().log10().floor()).clamp(0.0, 12.0);
    let text = format!("{value:.*}", decimals as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_with_three_digits() {
        for (value, expected) in [
            (0.1, "0.1"),
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (1.0 / 3.0, "0.333"),
            (123.4, "123"),
            (100.0, "100"),
        ] {
            assert_eq!(significant(value), expected);
        }
    }

    #[test]
    fn a_time_limit_does_not_outlive_its_process() {
        let stored = TrainingOptions {
            max_seconds: Some(1.0),
            max_batches: Some(24),
            epochs: Some(1),
            ..TrainingOptions::default()
        };
        let nothing = still_holds(&stored, &TrainingOptions::default());
        assert_eq!((nothing.max_seconds, nothing.max_batches), (None, Some(24)));
        let longer = TrainingOptions {
            epochs: Some(2),
            ..TrainingOptions::default()
        };
        assert_eq!(still_holds(&stored, &longer).max_batches, None);
    }
}
