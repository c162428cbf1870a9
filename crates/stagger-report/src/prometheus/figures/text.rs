//! The numbers as metrics of Prometheus.

use std::time::Duration;

use super::{Figures, Stage};
use crate::epoch::EpochTally;
use crate::memory::{peak_resident_bytes, resident_bytes};
use crate::progress::StageProgress;
use crate::prometheus::exposition::{Exposition, Kind};
use crate::summary::StageSummary;

/// Name and help of a gauge of every stage, and its value by number and state of a stage.
type StageGauge<'a> = (&'a str, &'a str, &'a dyn Fn(usize, &Stage) -> Option<f64>);

impl Figures {
    /// All of them.
    pub fn text(&self) -> String {
        let mut text = Exposition::default();
        let info = (!self.labels.is_empty()).then_some((&self.labels[..], 1.0));
        text.add(Kind::Gauge, "stagger_run_info", "What runs.", info);
        if let Some(tally) = &self.tally {
            self.progress(&mut text, tally);
            self.scores(&mut text, tally.plan().emulated);
            self.of_stages(&mut text, tally);
        }
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        text.one(
            Kind::Gauge,
            "process_resident_memory_bytes",
            "Resident memory of this process.",
            bytes(resident_bytes()),
        );
        text.one(
            Kind::Gauge,
            "stagger_peak_resident_memory_bytes",
            "The most resident memory of this process since training began.",
            bytes(peak_resident_bytes()),
        );
        text.into_text()
    }

    fn progress(&self, text: &mut Exposition, tally: &EpochTally) {
        let plan = tally.plan();
        let epoch = (tally.current_epoch() + 1).min(plan.epochs());
        let version = (tally.stages_so_far().last()).map_or(0, |(version, _)| version);
        let version = version.max(tally.start_version());
        let gauges = [
            ("stagger_batches", "Batches of the whole run.", plan.batches),
            ("stagger_epochs", "Epochs of the whole run.", plan.epochs()),
            ("stagger_epoch", "The epoch under way, from 1.", epoch),
            (
                "stagger_weights_version",
                "Version of the last stage's weights: batches that it has trained on since version 0.",
                version,
            ),
        ];
        for (name, help, value) in gauges {
            text.one(Kind::Gauge, name, help, Some(value as f64));
        }
        let rate = self.images_per_second;
        text.one(
            Kind::Gauge,
            "stagger_images_per_second",
            "Training images per second of this epoch so far, without evaluations and snapshots.",
            rate,
        );
        let totals = &self.totals;
        let counters = [
            (
                "stagger_batches_trained_total",
                "Batches trained on by this process.",
                totals.batches,
            ),
            (
                "stagger_samples_trained_total",
                "Samples in them.",
                totals.samples,
            ),
            (
                "stagger_samples_correct_total",
                "Samples in them whose label had the highest score.",
                totals.correct,
            ),
            (
                "stagger_batches_skipped_total",
                "Batches left out, as their loss was not finite.",
                totals.skipped,
            ),
            (
                "stagger_snapshots_total",
                "Snapshots that the last stage has taken.",
                totals.snapshots,
            ),
            (
                "stagger_rollbacks_total",
                "Times that this process has gone back to a snapshot.",
                totals.begun.saturating_sub(1),
            ),
            (
                "stagger_stalls_total",
                "Times that nothing has moved for the stall timeout.",
                totals.stalls,
            ),
        ];
        for (name, help, value) in counters {
            text.one(Kind::Counter, name, help, Some(value as f64));
        }
    }

    fn scores(&self, text: &mut Exposition, emulated: bool) {
        let batch = self.last_batch.as_ref();
        text.one(
            Kind::Gauge,
            "stagger_learning_rate",
            "Learning rate of the last batch.",
            batch.map(|batch| batch.learning_rate),
        );
        if emulated {
            return;
        }
        let (test, average) = (self.test.as_ref(), self.average.as_ref());
        let gauges = [
            (
                "stagger_train_loss",
                "Mean loss over the last batch.",
                batch.map(|batch| batch.loss),
            ),
            (
                "stagger_train_accuracy_ratio",
                "Share of the last batch whose label had the highest score, 0 to 1.",
                batch.map(|batch| batch.accuracy),
            ),
            (
                "stagger_test_loss",
                "Mean loss over the test images at the last evaluation.",
                test.map(|test| test.loss),
            ),
            (
                "stagger_test_accuracy_ratio",
                "Share of the test images whose label had the highest score at the last evaluation, 0 to 1.",
                test.map(|test| test.accuracy),
            ),
            (
                "stagger_test_version",
                "Version of the weights at the last evaluation.",
                test.map(|test| test.version as f64),
            ),
            (
                "stagger_best_test_accuracy_ratio",
                "The highest test accuracy of this process, 0 to 1.",
                self.best_test_accuracy,
            ),
            (
                "stagger_average_test_loss",
                "Mean loss over the test images by the running mean of the weights.",
                average.map(|average| average.loss),
            ),
            (
                "stagger_average_test_accuracy_ratio",
                "Test accuracy by the running mean of the weights, 0 to 1.",
                average.map(|average| average.accuracy),
            ),
            (
                "stagger_average_test_version",
                "Version of the weights whose running mean was evaluated last.",
                average.map(|average| average.version as f64),
            ),
        ];
        for (name, help, value) in gauges {
            text.one(Kind::Gauge, name, help, value);
        }
    }

    fn of_stages(&self, text: &mut Exposition, tally: &EpochTally) {
        let last_epoch = self.last_epoch.as_ref().map(|epoch| &epoch.stages);
        let so_far: Vec<(usize, Option<StageSummary>)> = tally
            .stages_so_far()
            .enumerate()
            .map(|(at, (version, summary))| {
                let before = || last_epoch.and_then(|stages| stages.get(at)).cloned();
                (version, summary.or_else(before))
            })
            .collect();
        let version_of = |at: usize| so_far.get(at).map(|(version, _)| *version);
        let in_flight = |at: usize, stage: &Stage| {
            let begun = stage.forward? + 1;
            Some(begun.saturating_sub(version_of(at)?) as f64)
        };
        let gauges: [StageGauge<'_>; 5] = [
            (
                "stagger_stage_version",
                "Version of the stage's weights.",
                &|at, _| version_of(at).map(|version| version as f64),
            ),
            (
                "stagger_stage_batches_in_flight",
                "Batches that the stage has forwarded and not updated with.",
                &in_flight,
            ),
            (
                "stagger_stage_staleness",
                "Updates between forward and backward of the last batch that was pulled back.",
                &|_, stage| stage.staleness.map(|staleness| staleness as f64),
            ),
            (
                "stagger_stage_gap_ratio",
                "How far the weights moved between forward and backward of a batch, relative to them, when it was measured last.",
                &|_, stage| stage.gap,
            ),
            (
                "stagger_stage_busy_ratio",
                "Share of its training time of this epoch so far in which the stage computed, 0 to 1.",
                &|at, _| Some(so_far.get(at)?.1.as_ref()?.busy_share),
            ),
        ];
        for (name, help, value) in gauges {
            let samples = self.stages.iter().enumerate();
            let samples = samples.filter_map(|(at, stage)| Some((of_stage(at), value(at, stage)?)));
            add(text, Kind::Gauge, name, help, samples);
        }
        let summaries = so_far.iter().enumerate();
        let waits = summaries.flat_map(|(at, (_, summary))| {
            let waits = summary.as_ref().map(|stage| {
                let all = stage.waited + stage.unaccounted + busy(stage);
                [
                    ("loader", stage.loader),
                    ("receive", stage.receive),
                    ("send", stage.send),
                ]
                .map(|(reason, waited)| {
                    let mut labels = of_stage(at);
                    labels.push(("reason", reason.to_owned()));
                    let share = waited.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
                    (labels, share)
                })
            });
            waits.into_iter().flatten()
        });
        add(
            text,
            Kind::Gauge,
            "stagger_stage_wait_ratio",
            "Share of its training time of this epoch so far in which the stage waited, by what for, 0 to 1.",
            waits,
        );
        let seconds = self.stages.iter().enumerate().flat_map(|(at, stage)| {
            activities(&stage.tally.progress()).map(|(activity, seconds)| {
                let mut labels = of_stage(at);
                labels.push(("activity", activity.to_owned()));
                (labels, seconds)
            })
        });
        add(
            text,
            Kind::Counter,
            "stagger_stage_seconds_total",
            "Training time of the stage in this process, by what it did.",
            seconds,
        );
        let hops = self.stages.windows(2).enumerate();
        let hops = hops.filter_map(|(below, pair)| {
            let [lower, upper] = pair else { return None };
            let ahead = lower.forward?.saturating_sub(upper.forward?);
            let labels = vec![
                ("below", below.to_string()),
                ("above", (below + 1).to_string()),
            ];
            Some((labels, ahead as f64))
        });
        add(
            text,
            Kind::Gauge,
            "stagger_hop_batches",
            "Batches that the stage below has forwarded and the stage above has not: in the queue between them and in their hands.",
            hops,
        );
    }
}

/// Adds a metric whose labels are made for it.
fn add(
    text: &mut Exposition,
    kind: Kind,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Vec<(&'static str, String)>, f64)>,
) {
    let samples: Vec<_> = samples.collect();
    let samples = samples.iter().map(|(labels, value)| (&labels[..], *value));
    text.add(kind, name, help, samples);
}

fn of_stage(stage: usize) -> Vec<(&'static str, String)> {
    vec![("stage", stage.to_string())]
}

fn busy(stage: &StageSummary) -> Duration {
    stage.forward + stage.recompute + stage.backward + stage.weights + stage.update + stage.transfer
}

/// What a stage does with its time, and the seconds of it.
fn activities(sums: &StageProgress) -> [(&'static str, f64); 9] {
    [
        ("forward", sums.forward),
        ("recompute", sums.recompute),
        ("backward", sums.backward),
        ("weight_gradients", sums.weights),
        ("update", sums.update),
        ("transfer", sums.transfer),
        ("wait_loader", sums.loader),
        ("wait_receive", sums.receive),
        ("wait_send", sums.send),
    ]
    .map(|(activity, time)| (activity, time.as_secs_f64()))
}
