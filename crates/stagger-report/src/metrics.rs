//! The records of `metrics.jsonl`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::seconds;
use crate::summary::EpochSummary;

/// Version of the format that is written, and the only one that is read.
pub const METRICS_FORMAT: u32 = 1;

/// One line of `metrics.jsonl`: a JSON object whose `kind` says which.
///
/// | `kind` | when |
/// | --- | --- |
/// | `run` | the first line |
/// | `batch` | after each training batch |
/// | `skipped` | in place of `batch`, when the loss was not finite and the batch is left out |
/// | `epoch` | after each epoch and its evaluation; fields of [`EpochSummary`] |
/// | `end` | the last line, also after a failure; missing when the process was killed |
///
/// Epochs count from 1, batches and versions from 0. Accuracies are in percent, shares from 0 to 1,
/// times in seconds. A number that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// What was run.
    Run(RunRecord),
    /// A training batch.
    Batch(BatchRecord),
    /// A training batch that is left out.
    Skipped(SkippedRecord),
    /// An epoch.
    Epoch(EpochSummary),
    /// How it ended.
    End(EndRecord),
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`METRICS_FORMAT`].
    pub format_version: u32,
    /// Schedule, model, data set, seed and whatever else the caller finds worth keeping.
    pub facts: Map<String, Value>,
}

/// A training batch, as the last stage saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// The batch, from 0, over all epochs.
    pub batch: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// Mean loss over its samples; finite.
    #[serde(deserialize_with = "finite")]
    pub loss: f32,
    /// Samples whose label had the highest score, in percent.
    pub top1: f64,
    /// Samples whose label was among the five highest scores, in percent.
    pub top5: f64,
    /// Learning rate.
    pub lr: f64,
    /// Samples in it.
    pub samples: usize,
    /// When its loss was known, since the start of the run. JSON: `seconds`.
    #[serde(rename = "seconds", with = "seconds")]
    pub at: Duration,
}

/// Larger numbers of JSON would become infinity, which is written as `null`.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let number = f32::deserialize(deserializer)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(D::Error::custom(format_args!(
            "a loss of {number}; expected at most {:e}",
            f32::MAX
        )))
    }
}

/// A training batch whose loss was not finite, and whose updates are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedRecord {
    /// The batch, from 0, over all epochs.
    pub batch: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// When that was known, since the start of the run. JSON: `seconds`.
    #[serde(rename = "seconds", with = "seconds")]
    pub at: Duration,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Version of the parameters: the batches trained.
    pub version: usize,
    /// Whether the run was cut short on request.
    pub interrupted: bool,
    /// Duration of the run; after a failure, up to the last thing that was done. JSON:
    /// `wall_seconds`.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// Peak resident memory of the process, where the system tells it.
    pub peak_memory_bytes: Option<u64>,
    /// Why the run failed; `null` when it did not.
    pub error: Option<String>,
}
