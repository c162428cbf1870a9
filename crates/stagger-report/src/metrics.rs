//! The records of `metrics.jsonl`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use stagger_runtime::EarlyEnd;

use crate::seconds;
use crate::summary::EpochSummary;

/// Format version of the files that are written; no other is read.
pub const METRICS_FORMAT: u32 = 1;

/// One line of `metrics.jsonl`: a JSON object with a field `kind`.
///
/// | `kind` | when |
/// | --- | --- |
/// | `run` | the first line |
/// | `batch` | after each training batch |
/// | `skipped` | instead of `batch`, when the loss was not finite and no stage updates with the batch |
/// | `epoch` | after each epoch and its evaluation; fields of [`EpochSummary`] |
/// | `end` | the last line, also after a failure; missing if the process was killed |
///
/// Epochs count from 1, batches and versions from 0. Accuracies are in percent, shares from 0 to 1,
/// times in seconds. A number that is not finite is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// The run.
    Run(RunRecord),
    /// A training batch.
    Batch(BatchRecord),
    /// A training batch without an update.
    Skipped(SkippedRecord),
    /// An epoch.
    Epoch(EpochSummary),
    /// The end of the run.
    End(EndRecord),
}

/// What a run trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`METRICS_FORMAT`].
    pub format_version: u32,
    /// Schedule, model, data set, seed and other facts that the caller gives.
    pub facts: Map<String, Value>,
}

/// A training batch, as the last stage computed it.
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
    /// Time from the start of the run until the loss was known. JSON: `seconds`.
    #[serde(rename = "seconds", with = "seconds")]
    pub at: Duration,
}

/// Refuses a number that overflows to infinity: it could not be written back, since JSON has only `null` for it.
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

/// A training batch whose loss was not finite: no stage updates with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedRecord {
    /// The batch, from 0, over all epochs.
    pub batch: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// Time from the start of the run until the loss was known. JSON: `seconds`.
    #[serde(rename = "seconds", with = "seconds")]
    pub at: Duration,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Version of the parameters: the batches trained.
    pub version: usize,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// What the run had reached when it ended before its last batch; left out where nothing ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EarlyEnd>,
    /// Duration of the run; after a failure, up to the end of the last completed action. JSON: `wall_seconds`.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// Peak resident memory of the process, if the system reports it.
    pub peak_memory_bytes: Option<u64>,
    /// Why the run failed; `null` if it did not.
    pub error: Option<String>,
}
