//! The numbers that are shown, and how events change them.

mod text;

use stagger_runtime::{Acted, Event};
use stagger_schedule::Action;

use crate::epoch::EpochTally;
use crate::stage_tally::StageTally;
use crate::summary::EpochSummary;

/// What is known of a run. Memory does not grow with its length.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    labels: Vec<(&'static str, String)>,
    /// `None` before training begins.
    tally: Option<EpochTally>,
    stages: Vec<Stage>,
    last_epoch: Option<EpochSummary>,
    last_batch: Option<LastBatch>,
    images_per_second: Option<f64>,
    test: Option<Score>,
    best_test_accuracy: Option<f64>,
    average: Option<Score>,
    totals: Totals,
}

/// One stage.
#[derive(Clone, Debug, Default)]
struct Stage {
    /// Since the process began, also before a rollback.
    tally: StageTally,
    /// The batch of its last forward pass.
    forward: Option<usize>,
    staleness: Option<usize>,
    gap: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct LastBatch {
    loss: f64,
    accuracy: f64,
    learning_rate: f64,
}

#[derive(Clone, Copy, Debug)]
struct Score {
    version: usize,
    loss: f64,
    accuracy: f64,
}

/// What has been counted since the process began.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Times that training has begun: once, and once after each rollback.
    begun: usize,
    batches: usize,
    samples: usize,
    correct: usize,
    skipped: usize,
    snapshots: usize,
    stalls: usize,
}

impl Figures {
    pub fn describe(&mut self, labels: impl IntoIterator<Item = (&'static str, String)>) {
        self.labels = labels.into_iter().collect();
    }

    /// Training begins, or goes on after a rollback.
    pub fn begin(&mut self, tally: EpochTally) {
        self.totals.begun += 1;
        self.tally = Some(tally);
        for stage in &mut self.stages {
            // Times begin anew; sums go on.
            stage.tally = StageTally::resumed(&stage.tally.progress());
            stage.forward = None;
        }
    }

    pub fn event(&mut self, event: &Event) {
        if let Some(epoch) = self.tally.as_mut().and_then(|tally| tally.event(event)) {
            self.images_per_second = Some(epoch.images_per_second);
            self.last_epoch = Some(epoch);
        }
        match *event {
            Event::Started { stages } => self.stages.resize_with(stages, Stage::default),
            Event::Acted(acted) => self.acted(acted),
            Event::Trained {
                samples,
                loss,
                correct_top1,
                learning_rate,
                ..
            } => {
                self.totals.batches += 1;
                self.totals.samples += samples;
                self.totals.correct += correct_top1;
                self.last_batch = Some(LastBatch {
                    loss: f64::from(loss),
                    accuracy: share(correct_top1, samples),
                    learning_rate,
                });
            }
            Event::Skipped { .. } => self.totals.skipped += 1,
            Event::Evaluated {
                version,
                samples,
                loss,
                correct_top1,
                ..
            } => {
                let accuracy = share(correct_top1, samples);
                self.test = Some(Score {
                    version,
                    loss,
                    accuracy,
                });
                let best = self.best_test_accuracy.unwrap_or_default();
                self.best_test_accuracy = Some(best.max(accuracy));
            }
            Event::EvaluatedAverage {
                version,
                samples,
                loss,
                correct_top1,
                ..
            } => {
                self.average = Some(Score {
                    version,
                    loss,
                    accuracy: share(correct_top1, samples),
                });
            }
            Event::Stalled(_) => self.totals.stalls += 1,
            _ => {}
        }
    }

    fn acted(&mut self, acted: Acted) {
        let is_last = acted.stage + 1 == self.stages.len();
        let Some(stage) = self.stages.get_mut(acted.stage) else {
            return;
        };
        stage.tally.add(acted);
        stage.staleness = acted.staleness.or(stage.staleness);
        stage.gap = acted.gap.or(stage.gap);
        match acted.action {
            Action::Forward { batch, .. } => stage.forward = Some(batch),
            Action::Snapshot { .. } if is_last => self.totals.snapshots += 1,
            // At the end of an epoch its summary has the rate.
            Action::Update { .. } if is_last => {
                let rate = self.tally.as_ref().map(EpochTally::images_per_second);
                self.images_per_second = rate.filter(|rate| *rate > 0.0).or(self.images_per_second);
            }
            _ => {}
        }
    }
}

/// Share that `part` is of `whole`; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
