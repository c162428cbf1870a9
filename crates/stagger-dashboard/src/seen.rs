//! What is seen of a run.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value};
use stagger_data::shown_text;
use stagger_report::{BatchRecord, EndRecord, EpochSummary, Record, SkippedRecord};

use crate::alerts::LossWatch;
use crate::curve::Curve;
use crate::stage::StageSeen;

/// Batches over which the present throughput is taken.
const RECENT: usize = 32;
/// More stages than this are taken for a damaged file.
const MOST_STAGES: usize = 4096;

/// What is seen of a run: a plain value, fed with the records of `metrics.jsonl` in their order, as they are read or as they come
/// about. Its size does not grow with the length of the run.
#[derive(Clone, Debug, Default)]
pub struct RunSeen {
    pub(crate) title: Title,
    /// Batches of the whole run and of an epoch; 0 where it is not said.
    pub(crate) batches: usize,
    pub(crate) batches_per_epoch: usize,
    pub(crate) is_emulated: bool,
    /// Batches trained.
    pub(crate) version: usize,
    pub(crate) last: Option<BatchRecord>,
    pub(crate) loss: Curve,
    /// Training accuracy in percent.
    pub(crate) accuracy: Curve,
    pub(crate) test_loss: Curve,
    /// Test accuracy in percent.
    pub(crate) test_accuracy: Curve,
    /// Accuracy of the running mean of the weights, in percent.
    pub(crate) average_accuracy: Option<f64>,
    /// Seconds per image, without evaluations.
    pub(crate) pace: Curve,
    /// Version and test accuracy of the best evaluation.
    pub(crate) best: Option<(usize, f64)>,
    pub(crate) stages: Vec<StageSeen>,
    /// What the shares of the stages are of.
    pub(crate) span: Option<Span>,
    /// Time from the start to the last news, pauses between sittings left out.
    pub(crate) elapsed: Duration,
    /// The longest time between two batches.
    pub(crate) longest_pause: Duration,
    pub(crate) loss_watch: LossWatch,
    pub(crate) skipped: usize,
    pub(crate) last_skipped: Option<usize>,
    pub(crate) rollback: Option<Rollback>,
    /// The version at which it halts, as it was interrupted.
    pub(crate) halts_at: Option<usize>,
    /// What is wrong with what is read of it.
    pub(crate) fault: Option<String>,
    /// That nothing moves, and the run ends itself.
    pub(crate) stalled: Option<String>,
    pub(crate) end: Option<EndRecord>,
    /// Whether it is the run of this process.
    pub(crate) is_live: bool,
    recent: VecDeque<(Duration, usize)>,
    /// First batches of the last two epochs, and their times.
    marks: [Option<(usize, Duration)>; 2],
}

/// What it trains, with control characters escaped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Title {
    pub model: String,
    pub dataset: String,
    pub schedule: String,
    pub engine: String,
    /// Further facts in words.
    pub more: Vec<String>,
}

/// What shares of time are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// An epoch, from 1.
    Epoch(usize),
    /// The last seconds.
    Lately,
}

/// How a run has gone back to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rollback {
    pub version: usize,
    pub times: usize,
    /// What the learning rates are multiplied by since.
    pub rate_factor: Option<f64>,
}

impl RunSeen {
    /// Takes what the run is said to be: the facts of its `run` record.
    pub fn describe(&mut self, facts: &Map<String, Value>) {
        let text = |name: &str| match facts.get(name) {
            Some(Value::String(text)) => shown_text(text),
            Some(other) => shown_text(&other.to_string()),
            None => "?".to_owned(),
        };
        let number = |name: &str| {
            let number = facts.get(name).and_then(Value::as_u64).unwrap_or(0);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let mut more = Vec::new();
        if facts.contains_key("replicas") {
            more.push(format!("replicas {}", text("replicas")));
        }
        if number("batch_size") > 0 {
            more.push(format!("batches of {}", number("batch_size")));
        }
        if number("micro_batches") > 1 {
            more.push(format!("{} micro-batches", number("micro_batches")));
        }
        self.title = Title {
            model: text("model"),
            dataset: text("dataset"),
            schedule: text("schedule"),
            engine: text("engine"),
            more,
        };
        self.batches = number("batches");
        self.batches_per_epoch = number("batches_per_epoch");
        self.is_emulated = facts.contains_key("emulated");
        let stages = number("stages").min(MOST_STAGES);
        self.stages.resize_with(stages, StageSeen::default);
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Run(run) => self.describe(&run.facts),
            Record::Batch(batch) => self.batch(batch),
            Record::Skipped(skipped) => self.skipped(skipped),
            Record::Epoch(epoch) => self.epoch(epoch),
            Record::End(end) => {
                self.version = end.version;
                self.elapsed = self.elapsed.max(end.wall);
                self.end = Some(end.clone());
            }
            _ => {}
        }
    }

    fn batch(&mut self, batch: &BatchRecord) {
        self.loss.push(batch.batch, f64::from(batch.loss));
        self.accuracy.push(batch.batch, batch.top1);
        self.loss_watch.take(batch.batch, f64::from(batch.loss));
        if let Some(before) = &self.last
            && before.batch.checked_add(1) == Some(batch.batch)
        {
            let took = batch.at.saturating_sub(before.at);
            self.longest_pause = self.longest_pause.max(took);
            // An evaluation comes between epochs.
            if before.epoch == batch.epoch && batch.samples > 0 && !took.is_zero() {
                let pace = took.as_secs_f64() / batch.samples as f64;
                self.pace.push(batch.batch, pace);
                self.recent.push_back((took, batch.samples));
                if self.recent.len() > RECENT {
                    self.recent.pop_front();
                }
            }
        }
        if self.last.as_ref().map(|last| last.epoch) != Some(batch.epoch) {
            self.marks = [self.marks[1], Some((batch.batch, batch.at))];
        }
        self.came_to(batch.batch, batch.at);
        self.last = Some(batch.clone());
    }

    fn skipped(&mut self, skipped: &SkippedRecord) {
        self.skipped += 1;
        self.last_skipped = Some(skipped.batch);
        self.came_to(skipped.batch, skipped.at);
    }

    fn came_to(&mut self, batch: usize, at: Duration) {
        self.version = batch.saturating_add(1);
        self.elapsed = self.elapsed.max(at);
    }

    fn epoch(&mut self, epoch: &EpochSummary) {
        if let Some(loss) = epoch.test_loss {
            self.test_loss.push(epoch.version, loss);
        }
        if let Some(top1) = epoch.test_top1 {
            self.test_accuracy.push(epoch.version, top1);
            if self.best.is_none_or(|(_, best)| top1 > best) {
                self.best = Some((epoch.version, top1));
            }
        }
        self.average_accuracy = epoch.average_top1;
        let most = epoch.stages.len().min(MOST_STAGES);
        if self.stages.len() < most {
            self.stages.resize_with(most, StageSeen::default);
        }
        for (seen, summary) in self.stages.iter_mut().zip(&epoch.stages) {
            seen.take(summary, self.is_live);
        }
        if !self.is_live {
            self.span = Some(Span::Epoch(epoch.epoch));
        }
    }

    /// Goes back to a version, as the run has.
    pub(crate) fn cut(&mut self, version: usize) {
        for curve in [&mut self.loss, &mut self.accuracy, &mut self.pace] {
            curve.cut(version);
        }
        for curve in [&mut self.test_loss, &mut self.test_accuracy] {
            curve.cut(version.saturating_add(1));
        }
        self.best = self.best.filter(|(at, _)| *at <= version);
        self.version = version;
        self.last = None;
        self.recent.clear();
        self.loss_watch = LossWatch::default();
    }

    /// Images per second, over the last batches.
    pub(crate) fn images_per_second(&self) -> Option<f64> {
        let took: f64 = self.recent.iter().map(|(took, _)| took.as_secs_f64()).sum();
        let samples = self.recent.iter().map(|(_, samples)| *samples);
        // A file may say any number.
        let samples = samples.fold(0, usize::saturating_add);
        (took > 0.0).then(|| samples as f64 / took)
    }

    /// The time that is left, as long as the run goes on as it has in this epoch and the one before, evaluations included.
    pub(crate) fn left(&self) -> Option<Duration> {
        let last = self.last.as_ref()?;
        let (from, since) = self.marks[0].or(self.marks[1])?;
        let trained = last.batch.checked_sub(from).filter(|count| *count > 0)?;
        let took = last.at.saturating_sub(since).as_secs_f64();
        let left = self.batches.saturating_sub(self.version);
        Duration::try_from_secs_f64(took / trained as f64 * left as f64).ok()
    }

    /// The epoch in which it is, and their number.
    pub(crate) fn epochs(&self) -> Option<(usize, usize)> {
        let per_epoch = self.batches_per_epoch;
        if per_epoch == 0 {
            return None;
        }
        let all = self.batches.div_ceil(per_epoch).max(1);
        Some(((self.version / per_epoch).saturating_add(1).min(all), all))
    }

    /// Share of the run that is trained, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let whole = self.batches.max(1) as f64;
        (self.version as f64 / whole).min(1.0)
    }
}
