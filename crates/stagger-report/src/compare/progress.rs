//! How far a run had come when.

use serde_json::Value;

use crate::metrics::{BatchRecord, Record};
use crate::summary::EpochSummary;

/// Batches at the start that fill caches and pipeline and are not timed, where a run has enough.
const WARMUP_BATCHES: usize = 8;

/// A batch on the clock of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Passes over the training set up to its end.
    pub epochs: f64,
    /// Seconds of training up to its loss, without evaluations.
    pub seconds: f64,
    /// Mean loss over its samples.
    pub loss: f64,
}

/// The batches of a run on a clock that stands still during evaluations and snapshots.
///
/// The clock is that of the losses: a batch takes the time since the loss before it. Between the last loss of an epoch
/// and the first of the next there may be an evaluation, so this batch counts as much as the mean one of its epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The batches, in order.
    pub batches: Vec<Trained>,
    /// Test accuracy in percent after epochs that were evaluated, with the batch at which that was.
    pub evaluations: Vec<(Trained, f64)>,
    /// Samples per second, without the first batches; `None` when there are too few.
    pub images_per_second: Option<f64>,
}

impl Progress {
    /// Of the records of a run.
    pub fn of(records: &[Record]) -> Self {
        let batches: Vec<&BatchRecord> = records.iter().filter_map(batch).collect();
        let steps = steps(&batches);
        let mut progress = Self {
            images_per_second: rate(&batches, &steps, warmup(records)),
            ..Self::default()
        };
        let per_epoch = batches_per_epoch(records, &batches);
        let mut seconds = 0.0;
        for (at, (record, step)) in batches.iter().zip(&steps).enumerate() {
            seconds += step.seconds;
            progress.batches.push(Trained {
                epochs: (at + 1) as f64 / per_epoch as f64,
                seconds,
                loss: f64::from(record.loss),
            });
        }
        for epoch in records.iter().filter_map(epoch) {
            let last = epoch.version.checked_sub(1);
            let trained = last.and_then(|last| progress.batches.get(last)).copied();
            if let (Some(trained), Some(top1)) = (trained, epoch.test_top1) {
                progress.evaluations.push((trained, top1));
            }
        }
        progress
    }

    /// Seconds of training after which an evaluation first found at least this accuracy.
    pub fn seconds_to(&self, top1: f64) -> Option<f64> {
        let reached = self.evaluations.iter().find(|(_, found)| *found >= top1);
        reached.map(|(trained, _)| trained.seconds)
    }
}

/// What a batch adds to the clock.
#[derive(Clone, Copy, Debug)]
struct Step {
    seconds: f64,
    /// Whether it was measured, not filled in.
    measured: bool,
}

fn steps(batches: &[&BatchRecord]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(batches.len());
    for (at, record) in batches.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| batches[before]);
        let measured = before.is_some_and(|before| before.epoch == record.epoch);
        let seconds = match before {
            Some(before) => record.at.saturating_sub(before.at).as_secs_f64(),
            None => record.at.as_secs_f64(),
        };
        steps.push(Step { seconds, measured });
    }
    for at in 1..steps.len() {
        if !steps[at].measured {
            let epoch = batches[at].epoch;
            let same = (at + 1..steps.len()).take_while(|&next| batches[next].epoch == epoch);
            let (count, sum) = same.fold((0, 0.0), |(count, sum), next| {
                (count + 1, sum + steps[next].seconds)
            });
            // An epoch of one batch has nothing to fill in from.
            if count > 0 {
                steps[at].seconds = sum / f64::from(count);
            }
        }
    }
    steps
}

/// Batches that came to the last stage before the pipeline was full are left out too.
fn warmup(records: &[Record]) -> usize {
    let epochs = records.iter().filter_map(epoch);
    let stages = epochs.flat_map(|epoch| &epoch.stages);
    let staleness = stages.map(|stage| stage.staleness_max).max().unwrap_or(0);
    WARMUP_BATCHES.max(staleness + 1)
}

fn rate(batches: &[&BatchRecord], steps: &[Step], warmup: usize) -> Option<f64> {
    let skip = warmup.min(batches.len() / 2);
    let (mut samples, mut seconds) = (0, 0.0);
    for (record, step) in batches.iter().zip(steps).skip(skip) {
        if step.measured {
            samples += record.samples;
            seconds += step.seconds;
        }
    }
    (seconds > 0.0).then(|| samples as f64 / seconds)
}

/// As the run says; else those of the first epoch, which is whole unless it is the only one.
fn batches_per_epoch(records: &[Record], batches: &[&BatchRecord]) -> usize {
    if let Some(Record::Run(run)) = records.first()
        && let Some(said) = run.facts.get("batches_per_epoch").and_then(Value::as_u64)
    {
        return usize::try_from(said).unwrap_or(usize::MAX).max(1);
    }
    let first = batches.first().map_or(1, |first| first.epoch);
    let count = batches.iter().take_while(|batch| batch.epoch == first);
    count.count().max(1)
}

fn batch(record: &Record) -> Option<&BatchRecord> {
    match record {
        Record::Batch(batch) => Some(batch),
        _ => None,
    }
}

/// The epoch of a record that is one.
pub(crate) fn epoch(record: &Record) -> Option<&EpochSummary> {
    match record {
        Record::Epoch(epoch) => Some(epoch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::MadeUp;

    #[test]
    fn evaluations_are_not_on_the_clock() {
        // A batch of 10 samples every second; 100 seconds of evaluation after each of 3 epochs of 20.
        let run = MadeUp {
            epochs: 3,
            batches_per_epoch: 20,
            ..MadeUp::default()
        };
        let progress = Progress::of(&run.records());
        assert_eq!(progress.batches.len(), 60);
        assert_eq!(progress.batches[59].seconds, 60.0);
        assert_eq!(progress.batches[59].epochs, 3.0);
        assert_eq!(progress.images_per_second, Some(10.0));
        assert_eq!(progress.evaluations.len(), 3);
        assert_eq!(progress.evaluations[1].0.seconds, 40.0);
    }

    #[test]
    fn the_target_is_reached_at_the_first_evaluation_that_found_it() {
        // 50, 60, 70 percent.
        let run = MadeUp {
            epochs: 3,
            batches_per_epoch: 20,
            ..MadeUp::default()
        };
        let progress = Progress::of(&run.records());
        assert_eq!(progress.seconds_to(55.0), Some(40.0));
        assert_eq!(progress.seconds_to(50.0), Some(20.0));
        assert_eq!(progress.seconds_to(70.5), None);
    }

    #[test]
    fn the_first_batches_do_not_count_and_short_runs_have_a_rate() {
        let slow_start = MadeUp {
            start_seconds: 50.0,
            batches_per_epoch: 3,
            ..MadeUp::default()
        };
        let progress = Progress::of(&slow_start.records());
        assert_eq!(progress.images_per_second, Some(10.0));
        assert_eq!(progress.batches[2].seconds, 52.0);
        let single = MadeUp {
            batches_per_epoch: 1,
            ..MadeUp::default()
        };
        assert_eq!(Progress::of(&single.records()).images_per_second, None);
        assert_eq!(Progress::of(&[]), Progress::default());
    }
}
