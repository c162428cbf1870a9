//! Loss and accuracy of a run over its training time.

use serde_json::Value;

use crate::metrics::{BatchRecord, Record};
use crate::summary::EpochSummary;

/// Batches at the start of a run that fill caches and pipeline; its rate leaves them out.
const WARMUP_BATCHES: usize = 8;

/// A trained batch with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Epochs from the start of the run to the end of the batch.
    pub epochs: f64,
    /// Seconds of training until its loss was known, without evaluations and snapshots.
    pub seconds: f64,
    /// Mean loss over its samples.
    pub loss: f64,
}

/// The batches and evaluations of a run over its training time, which leaves out evaluations and snapshots.
///
/// The time of a batch is that between the previous loss and its own. An evaluation may lie between the last loss of an
/// epoch and the first of the next, so the first batch of an epoch is taken to last as long as the mean of its others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The batches, in order.
    pub batches: Vec<Trained>,
    /// The last batch before each evaluation, and the test accuracy in percent.
    pub evaluations: Vec<(Trained, f64)>,
    /// Samples per second without the first batches; `None` if there are too few batches.
    pub images_per_second: Option<f64>,
}

impl Progress {
    /// From the records of a run.
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

    /// Seconds of training until the first evaluation with at least this accuracy in percent.
    pub fn seconds_to(&self, top1: f64) -> Option<f64> {
        let reached = self.evaluations.iter().find(|(_, found)| *found >= top1);
        reached.map(|(trained, _)| trained.seconds)
    }
}

/// The training time of a batch.
#[derive(Clone, Copy, Debug)]
struct Step {
    seconds: f64,
    /// Whether it was measured; otherwise it is the mean of its epoch.
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
            // An epoch of one batch has no others.
            if count > 0 {
                steps[at].seconds = sum / f64::from(count);
            }
        }
    }
    steps
}

/// Number of batches to leave out, at least until the pipeline is full.
fn warmup(records: &[Record]) -> usize {
    let epochs = records.iter().filter_map(epoch);
    let stages = epochs.flat_map(|epoch| &epoch.stages);
    let staleness = stages.map(|stage| stage.staleness_max).max().unwrap_or(0);
    WARMUP_BATCHES.max(staleness.saturating_add(1))
}

fn rate(batches: &[&BatchRecord], steps: &[Step], warmup: usize) -> Option<f64> {
    let skip = warmup.min(batches.len() / 2);
    let (mut samples, mut seconds) = (0_usize, 0.0);
    for (record, step) in batches.iter().zip(steps).skip(skip) {
        if step.measured {
            samples = samples.saturating_add(record.samples);
            seconds += step.seconds;
        }
    }
    (seconds > 0.0).then(|| samples as f64 / seconds)
}

/// As in the facts of the run; otherwise the batches of the first epoch, which is complete unless it is the only one.
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

/// The summary in a record of an epoch.
pub(crate) fn epoch(record: &Record) -> Option<&EpochSummary> {
    match record {
        Record::Epoch(epoch) => Some(epoch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::FixtureRun;

    #[test]
    fn evaluations_take_no_training_time() {
        // A batch of 10 samples every second; 100 seconds of evaluation after each of 3 epochs of 20.
        let run = FixtureRun {
            epochs: 3,
            batches_per_epoch: 20,
            ..FixtureRun::default()
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
        let run = FixtureRun {
            epochs: 3,
            batches_per_epoch: 20,
            ..FixtureRun::default()
        };
        let progress = Progress::of(&run.records());
        assert_eq!(progress.seconds_to(55.0), Some(40.0));
        assert_eq!(progress.seconds_to(50.0), Some(20.0));
        assert_eq!(progress.seconds_to(70.5), None);
    }

    #[test]
    fn the_first_batches_do_not_count_and_short_runs_have_a_rate() {
        let slow_start = FixtureRun {
            start_seconds: 50.0,
            batches_per_epoch: 3,
            ..FixtureRun::default()
        };
        let progress = Progress::of(&slow_start.records());
        assert_eq!(progress.images_per_second, Some(10.0));
        assert_eq!(progress.batches[2].seconds, 52.0);
        let single = FixtureRun {
            batches_per_epoch: 1,
            ..FixtureRun::default()
        };
        assert_eq!(Progress::of(&single.records()).images_per_second, None);
        assert_eq!(Progress::of(&[]), Progress::default());
    }
}
