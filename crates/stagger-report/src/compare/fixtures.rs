//! Run folders with known numbers, for tests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Map;
use tempfile::TempDir;

use super::method::{Comparison, Plan};
use super::run::{PlannedRun, error_file};
use crate::environment::Environment;
use crate::metrics::{BatchRecord, EndRecord, METRICS_FORMAT, Record, RunRecord};
use crate::run_folder::{ENVIRONMENT_FILE, METRICS_FILE};
use crate::summary::{EpochSummary, StageSummary};

/// A run of batches of ten samples, whose accuracy is 50 % after the first epoch and 10 % higher after each further one.
pub struct FixtureRun {
    pub schedule: &'static str,
    pub replicas: Option<&'static str>,
    pub epochs: usize,
    pub batches_per_epoch: usize,
    /// Time at which the loss of the first batch is known.
    pub start_seconds: f64,
    pub batch_seconds: f64,
    pub evaluation_seconds: f64,
    /// Added to every accuracy.
    pub bonus: f64,
    pub memory_bytes: u64,
}

impl Default for FixtureRun {
    fn default() -> Self {
        Self {
            schedule: "dsp(1,0;2,0)",
            replicas: None,
            epochs: 1,
            batches_per_epoch: 10,
            start_seconds: 1.0,
            batch_seconds: 1.0,
            evaluation_seconds: 100.0,
            bonus: 0.0,
            memory_bytes: 300 << 20,
        }
    }
}

impl FixtureRun {
    pub fn records(&self) -> Vec<Record> {
        let mut facts = Map::from_iter([("schedule".to_owned(), self.schedule.into())]);
        if let Some(replicas) = self.replicas {
            facts.insert("replicas".to_owned(), replicas.into());
        }
        let mut records = vec![Record::Run(RunRecord {
            format_version: METRICS_FORMAT,
            facts,
        })];
        let mut seconds = self.start_seconds;
        for epoch in 0..self.epochs {
            for batch in 0..self.batches_per_epoch {
                let batch = epoch * self.batches_per_epoch + batch;
                records.push(Record::Batch(BatchRecord {
                    batch,
                    epoch: epoch + 1,
                    loss: 2.0 / (1.0 + batch as f32),
                    top1: 50.0,
                    top5: 90.0,
                    lr: 0.1,
                    samples: 10,
                    at: Duration::from_secs_f64(seconds),
                }));
                seconds += self.batch_seconds;
            }
            seconds += self.evaluation_seconds;
            records.push(Record::Epoch(self.epoch(epoch)));
        }
        records.push(Record::End(EndRecord {
            version: self.epochs * self.batches_per_epoch,
            interrupted: false,
            ended_by: None,
            wall: Duration::from_secs_f64(seconds),
            peak_memory_bytes: Some(self.memory_bytes),
            error: None,
        }));
        records
    }

    fn epoch(&self, epoch: usize) -> EpochSummary {
        let stale = self.schedule != "bp";
        let stage = |busy_share, max: usize| StageSummary {
            busy_share,
            staleness_mean: max as f64 * 0.95,
            staleness_max: max,
            staleness_counts: if max == 0 { vec![10] } else { vec![1, 1, 8] },
            gap_mean: (max > 0).then_some(0.02),
            ..StageSummary::default()
        };
        EpochSummary {
            epoch: epoch + 1,
            epochs: self.epochs,
            version: (epoch + 1) * self.batches_per_epoch,
            batches: self.batches_per_epoch,
            train_loss: 1.0,
            train_top1: 50.0,
            train_top5: 90.0,
            learning_rate: 0.1,
            test_loss: Some(1.0),
            test_top1: Some(50.0 + 10.0 * epoch as f64 + self.bonus),
            test_top5: Some(90.0),
            average_loss: None,
            average_top1: None,
            images_per_second: 10.0 / self.batch_seconds,
            wall: Duration::from_secs_f64(self.batch_seconds * self.batches_per_epoch as f64),
            stages: if stale {
                vec![stage(0.9, 2), stage(0.8, 0)]
            } else {
                vec![stage(0.5, 0), stage(0.4, 0)]
            },
            bubble_share: 0.1,
            emulated: false,
        }
    }

    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let lines = self.records();
        let lines = lines
            .iter()
            .map(|record| serde_json::to_string(record).unwrap() + "\n");
        fs::write(folder.join(METRICS_FILE), lines.collect::<String>()).unwrap();
        let environment = Environment {
            host: Some("lab".into()),
            cpu: Some("a <fast> processor".into()),
            cores: 2,
            memory_bytes: Some(24 << 30),
            os: "linux 6.1.0".into(),
            architecture: "x86_64".into(),
            stagger_version: "0.1.0".into(),
            git_commit: Some("66b9456".into()),
        };
        fs::write(folder.join(ENVIRONMENT_FILE), environment.to_json()).unwrap();
    }
}

fn plan(methods: &[&str], slowdowns: &[f64], runs: Vec<PlannedRun>) -> Plan {
    Plan {
        title: "resnet8 on shapes · 2 stages · engine cpu f32 · batches of 10".into(),
        command: "stagger compare bp dsp --output 'a & b'".into(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        slowdowns_percent: slowdowns.to_vec(),
        baseline: "bp".into(),
        emulated: None,
        target_top1: Some(55.0),
        runs,
    }
}

fn planned(base: &Path, method: &str, slowdown_percent: f64, seed: u64) -> PlannedRun {
    PlannedRun {
        method: method.into(),
        slowdown_percent,
        seed,
        folder: base.join(format!("{method}-slow{slowdown_percent}-seed{seed}")),
        command: format!("stagger train --config configs/{method}-seed{seed}.toml"),
    }
}

/// `bp` and `dsp` with three seeds; the third of `dsp` failed, and that of `bp` was never asked for.
pub fn comparison() -> (TempDir, Comparison) {
    let base = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for (method, seed, batch_seconds, bonus) in [
        ("bp", 1, 1.0, 0.0),
        ("dsp", 1, 0.5, 0.0),
        ("dsp", 2, 0.5, 2.0),
        ("bp", 2, 1.25, 1.0),
    ] {
        let run = planned(base.path(), method, 0.0, seed);
        FixtureRun {
            schedule: if method == "bp" { "bp" } else { "dsp(1,0;2,0)" },
            epochs: 3,
            start_seconds: batch_seconds,
            batch_seconds,
            bonus,
            memory_bytes: if method == "bp" { 290 << 20 } else { 310 << 20 },
            ..FixtureRun::default()
        }
        .write(&run.folder);
        runs.push(run);
    }
    let failed = planned(base.path(), "dsp", 0.0, 3);
    fs::write(error_file(&failed.folder), "error: out of memory\n").unwrap();
    runs.push(failed);
    let comparison = Comparison::read(plan(&["bp", "dsp"], &[0.0], runs));
    (base, comparison)
}

/// `bp` without replicas, and `dsp` with two of its first stage.
pub fn replicated() -> (TempDir, Comparison) {
    let base = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for (method, replicas) in [("bp", None), ("dsp", Some("2,1"))] {
        let run = planned(base.path(), method, 0.0, 1);
        FixtureRun {
            replicas,
            ..FixtureRun::default()
        }
        .write(&run.folder);
        runs.push(run);
    }
    let comparison = Comparison::read(plan(&["bp", "dsp"], &[0.0], runs));
    (base, comparison)
}

/// `bp` and `dsp` with one seed, without and with a slow-down.
pub fn straggling() -> (TempDir, Comparison) {
    let base = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for (method, slowdown, rate) in [
        ("bp", 0.0, 10.0),
        ("dsp", 0.0, 20.0),
        ("bp", 100.0, 5.0),
        ("dsp", 100.0, 16.0),
    ] {
        let run = planned(base.path(), method, slowdown, 1);
        let batch_seconds = 10.0 / rate;
        FixtureRun {
            schedule: if method == "bp" { "bp" } else { "dsp(1,0;2,0)" },
            batch_seconds,
            ..FixtureRun::default()
        }
        .write(&run.folder);
        runs.push(run);
    }
    let comparison = Comparison::read(plan(&["bp", "dsp"], &[0.0, 100.0], runs));
    (base, comparison)
}
