//! Measuring the speed of a pipeline on fixed random images.
//!
//! Lower stages may be ahead of the last one, which is then faster than they are until it has used that up. So rates are those of the
//! slowest stage, and the run goes on until no stage is ahead: a stage that runs empty is faster, too.

pub(crate) mod synthetic;

use std::time::Duration;

use stagger_engine::Profile;
use stagger_report::{
    RunSummary, RunTally, peak_resident_bytes, reset_peak_resident, resident_bytes,
};
use stagger_runtime::{Acted, Event, Interrupt};
use stagger_schedule::{Action, Horizon};

use crate::balance;
use crate::error::Error;
use crate::job::{Given, Job};
use crate::limits;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_most};
use crate::stages;
use crate::training::refuse_unused_transport;

/// Batches after which memory has reached what a run needs.
const SETTLED: usize = 100;

/// More batches take longer than anyone waits.
const MOST_BATCHES: usize = 1_000_000_000;

/// Each class has a name, and a column in the last layer.
const MOST_CLASSES: usize = 1_000_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Model, schedule, engine and the like. Data set, length, optimizer and learning-rate schedule are fixed: options of these are
    /// refused, unless they have their default value or the one that is fixed.
    pub options: TrainingOptions,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Number of classes, at least 1.
    pub classes: usize,
    /// Batches to time, at least 1.
    pub batches: usize,
    /// Batches before those, which are not timed.
    pub warmup: usize,
    /// Whether to time every kind of kernel.
    pub profile_kernels: bool,
}

/// A finished measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What ran.
    pub job: Job,
    /// Throughput, and where the time of each stage went.
    pub summary: RunSummary,
    /// Between the ends of consecutive updates of the slowest stage, in seconds.
    pub seconds: Vec<f64>,
    /// The most memory that the process had.
    pub peak_resident_bytes: Option<u64>,
    /// Memory after the first hundred batches, if there were as many.
    pub settled_resident_bytes: Option<u64>,
    /// Memory at the end.
    pub resident_bytes: Option<u64>,
    /// Of each stage, over all batches.
    pub profiles: Vec<(usize, Profile)>,
    /// Batches run, with the warm-up and those that follow what is timed.
    pub batches: usize,
}

impl Bench {
    /// Trains on two batches of random images in turns, without loading or evaluating anything.
    ///
    /// # Errors
    /// As [`Training::run`](crate::Training::run).
    pub fn run(&self) -> Result<Measured, Error> {
        if self.batches == 0 {
            return Err(Refusal::Zero { option: "batches" }.into());
        }
        for (option, found) in [("batches", self.batches), ("warmup", self.warmup)] {
            let kind = "a number of batches to measure";
            check_most(option, found, MOST_BATCHES, kind, "at most 1000000000")?;
        }
        refuse_unused_transport(&self.options, 1)?;
        let counted = self.batches + self.warmup;
        let mut job = job(self.options.clone(), self.shape, self.classes)?;
        let places = 0..job.replicas.places();
        stages::check(&job, places.clone())?;
        limits::check(&job, places, false, 0)?;
        balance::resolve(&mut job, None, None)?;

        reset_peak_resident();
        let total = counted.saturating_add(job.schedule.lead());
        let last = job.schedule.stages() - 1;
        let mut tally = RunTally::within(self.warmup, self.batches);
        let mut update_ends = vec![Vec::new(); job.schedule.stages()];
        let mut profiles = Vec::new();
        let mut settled_bytes = None;
        stages::run(
            &job,
            &stages::plan(&job, job.schedule.clone(), Horizon::of(total), 1.0),
            stages::Options {
                profile: self.profile_kernels,
                ..stages::Options::default()
            },
            match job.emulated() {
                Some(_) => stages::feeds(&job, 0..total)?,
                None => synthetic::feeds(&job, job.seed),
            },
            &Interrupt::new(),
            |event| {
                tally.event(&event);
                match event {
                    Event::Acted(Acted {
                        stage,
                        action: Action::Update { version },
                        ended_at,
                        ..
                    }) => {
                        if version < counted {
                            update_ends[stage].push(ended_at);
                        }
                        if stage == last && version + 1 == SETTLED {
                            settled_bytes = resident_bytes();
                        }
                    }
                    Event::Profiled { stage, profile } => profiles.push((stage, profile)),
                    _ => {}
                }
                Ok(())
            },
        )?;
        Ok(Measured {
            summary: tally.summary(),
            seconds: slowest(&update_ends, self.warmup),
            peak_resident_bytes: peak_resident_bytes(),
            settled_resident_bytes: settled_bytes,
            resident_bytes: resident_bytes(),
            profiles,
            batches: total,
            job,
        })
    }
}

/// A job on random images, with what does not matter for its speed fixed.
///
/// # Errors
/// As [`Job::new`], and when batches or classes are more than can be held.
pub(crate) fn job(said: TrainingOptions, shape: [usize; 3], classes: usize) -> Result<Job, Error> {
    let kind = "a number of classes to measure with";
    check_most("classes", classes, MOST_CLASSES, kind, "at most 1000000")?;
    refuse_unmeasured(&said)?;
    let defaults = TrainingOptions {
        // So small that random labels do not drive the loss to infinity.
        lr: Some(0.01),
        ..TrainingOptions::default()
    };
    // Other defaults follow from what is said: stages from the schedule.
    let options = fixed().or(said).or(defaults);
    let batch_size = batch_size(&options);
    Job::new(options, &given(shape, classes, batch_size))
}

/// What does not matter for speed.
fn fixed() -> TrainingOptions {
    TrainingOptions {
        epochs: Some(1),
        optimizer: Some("momentum".into()),
        lr_schedule: Some("constant".into()),
        warmup_batches: Some(0),
        ..TrainingOptions::default()
    }
}

/// Options that what is measured does not depend on.
fn refuse_unmeasured(options: &TrainingOptions) -> Result<(), Refusal> {
    let rest = TrainingOptions {
        model: None,
        network: None,
        stages: None,
        replicas: None,
        sync_batch_norm: None,
        schedule: None,
        balance: None,
        emulate: None,
        engine: None,
        engines: None,
        dtype: None,
        winograd: None,
        device: None,
        devices: None,
        threads_per_stage: None,
        tf32: None,
        deterministic: None,
        transport: None,
        wire_dtype: None,
        straggler: None,
        gap_every: None,
        batch_size: None,
        lr: None,
        momentum: None,
        nesterov: None,
        weight_decay: None,
        weight_decay_on: None,
        freeze_stages: None,
        head_lr_factor: None,
        ema: None,
        label_smoothing: None,
        clip_norm: None,
        seed: None,
        ..options.clone()
    };
    // Asks for nothing: what a run has anyway, and what this one has.
    let usual = [
        TrainingOptions::defaults(),
        TrainingOptions {
            evaluate: Some(false),
            ..fixed()
        },
    ];
    match rest.first_unlike(&usual) {
        Some(option) => Err(Refusal::NotMeasured { option }),
        None => Ok(()),
    }
}

/// Samples of a batch.
pub(crate) fn batch_size(options: &TrainingOptions) -> usize {
    let said = options.batch_size;
    said.or(TrainingOptions::defaults().batch_size)
        .unwrap_or_default()
}

/// Random images in place of a data set.
pub(crate) fn given(shape: [usize; 3], classes: usize, batch_size: usize) -> Given {
    Given {
        split: Some(synthetic::split(shape, classes, batch_size)),
        ..Given::default()
    }
}

/// Times between the ends of updates of the stage that takes longest for those that count; the last of equals.
fn slowest(ends: &[Vec<Duration>], warmup: usize) -> Vec<f64> {
    let of_stages = ends.iter().map(|ends| intervals(ends, warmup));
    let seconds = |times: &[f64]| -> f64 { times.iter().sum() };
    let slowest = of_stages.max_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    slowest.unwrap_or_default()
}

/// Times between consecutive ends, from the end of the last batch of the warm-up on.
fn intervals(ends: &[Duration], warmup: usize) -> Vec<f64> {
    let from = warmup.saturating_sub(1).min(ends.len());
    let pairs = ends[from..].windows(2);
    pairs
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_begin_after_the_warmup() {
        let ends: Vec<Duration> = [1, 3, 4, 9].map(Duration::from_secs).to_vec();
        assert_eq!(intervals(&ends, 0), [2.0, 1.0, 5.0]);
        assert_eq!(intervals(&ends, 1), [2.0, 1.0, 5.0]);
        assert_eq!(intervals(&ends, 3), [5.0]);
        assert!(intervals(&[], 3).is_empty());
    }

    #[test]
    fn batches_take_what_the_slowest_stage_takes() {
        let ends = |seconds: [u64; 3]| seconds.map(Duration::from_secs).to_vec();
        let of_stages = [ends([5, 9, 13]), ends([1, 2, 3])];
        assert_eq!(slowest(&of_stages, 1), [4.0, 4.0]);
    }
}
