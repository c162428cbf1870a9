//! Runs for tests.

use std::time::Duration;

use serde_json::{Map, Value, json};
use stagger_report::{
    BatchRecord, EndRecord, EpochSummary, METRICS_FORMAT, Record, RunRecord, StageSummary,
};

use crate::seen::RunSeen;

/// Batches of an epoch.
pub const PER_EPOCH: usize = 100;

pub fn facts(stages: usize) -> Map<String, Value> {
    let facts = json!({
        "model": "resnet20", "dataset": "cifar10", "schedule": "dsp(1,1,0;4,2,0)", "stages": stages,
        "cut": [4, 3, 4], "batch_size": 64, "micro_batches": 1, "batches": 4 * PER_EPOCH,
        "batches_per_epoch": PER_EPOCH, "seed": 1, "engine": "cpu", "dtype": "f32",
    });
    facts.as_object().cloned().unwrap_or_default()
}

pub fn run(stages: usize) -> Record {
    Record::Run(RunRecord {
        format_version: METRICS_FORMAT,
        facts: facts(stages),
    })
}

/// A batch of a run that learns, 50 ms after the one before.
pub fn batch(batch: usize) -> BatchRecord {
    let x = batch as f64;
    let noise = ((batch * 7919) % 100) as f64 / 100.0 - 0.5;
    BatchRecord {
        batch,
        epoch: batch / PER_EPOCH + 1,
        loss: (0.2 + 2.1 * (-x / 90.0).exp() + 0.1 * noise) as f32,
        top1: (95.0 - 85.0 * (-x / 90.0).exp() + 4.0 * noise).min(100.0),
        top5: 99.0,
        lr: 0.1 * (1.0 - x / (4 * PER_EPOCH) as f64),
        samples: 64,
        at: Duration::from_millis(50 * batch as u64 + 3 * (batch as u64 % 5)),
    }
}

pub fn epoch(epoch: usize, busy: &[f64]) -> EpochSummary {
    let stage = |(at, &busy_share): (usize, &f64)| StageSummary {
        busy_share,
        backward: Duration::from_secs_f64(10.0 * busy_share),
        send: Duration::from_secs_f64(8.0 * (1.0 - busy_share)),
        receive: Duration::from_secs_f64(2.0 * (1.0 - busy_share)),
        waited: Duration::from_secs_f64(10.0 * (1.0 - busy_share)),
        staleness_mean: 2.0 * (busy.len() - 1 - at) as f64,
        gap_mean: (at + 1 < busy.len()).then_some(0.0123),
        ..StageSummary::default()
    };
    let x = epoch as f64;
    EpochSummary {
        epoch,
        epochs: 4,
        version: epoch * PER_EPOCH,
        batches: PER_EPOCH,
        train_loss: 0.5,
        train_top1: 80.0,
        train_top5: 99.0,
        learning_rate: 0.1,
        test_loss: Some(0.3 + 1.2 / x),
        test_top1: Some(93.0 - 30.0 / x),
        test_top5: Some(99.0),
        average_loss: None,
        average_top1: None,
        images_per_second: 1280.0,
        wall: Duration::from_secs(5),
        stages: busy.iter().enumerate().map(stage).collect(),
        bubble_share: 0.1,
        emulated: false,
    }
}

pub fn end(version: usize, error: Option<&str>) -> Record {
    Record::End(EndRecord {
        version,
        interrupted: false,
        ended_by: None,
        wall: Duration::from_secs(21),
        peak_memory_bytes: None,
        error: error.map(str::to_owned),
    })
}

/// The records of a run up to a version.
pub fn records(version: usize, busy: &[f64]) -> Vec<Record> {
    let mut records = vec![run(busy.len())];
    for index in 0..version {
        records.push(Record::Batch(batch(index)));
        if (index + 1).is_multiple_of(PER_EPOCH) {
            records.push(Record::Epoch(epoch((index + 1) / PER_EPOCH, busy)));
        }
    }
    records
}

/// What is seen of them.
pub fn seen(records: &[Record]) -> RunSeen {
    let mut seen = RunSeen::default();
    records.iter().for_each(|record| seen.take(record));
    seen
}

/// Lines of a metrics file.
pub fn lines(records: &[Record]) -> String {
    let line = |record: &Record| serde_json::to_string(record).unwrap() + "\n";
    records.iter().map(line).collect()
}
