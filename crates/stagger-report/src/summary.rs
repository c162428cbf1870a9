//! Summaries of an epoch and of a whole run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// Where the training time of one stage went in an epoch. Forward, recompute, backward, update and transfer are its busy
/// time; they, `waited` and `unaccounted` add up to the wall time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Share of its training time in which it computed, 0 to 1.
    pub busy_share: f64,
    /// Forward passes, which build the graph where there is no recompute. JSON: `forward_seconds`.
    #[serde(rename = "forward_seconds", with = "seconds")]
    pub forward: Duration,
    /// Recomputed forward passes. JSON: `recompute_seconds`.
    #[serde(rename = "recompute_seconds", with = "seconds")]
    pub recompute: Duration,
    /// Backward passes, or the first halves of them where they are split. JSON: `backward_seconds`.
    #[serde(rename = "backward_seconds", with = "seconds")]
    pub backward: Duration,
    /// The second halves: gradients of weights. JSON: `weights_seconds`, left out where backward passes are whole.
    #[serde(
        rename = "weights_seconds",
        with = "seconds",
        default,
        skip_serializing_if = "Duration::is_zero"
    )]
    pub weights: Duration,
    /// Optimizer steps. JSON: `update_seconds`.
    #[serde(rename = "update_seconds", with = "seconds")]
    pub update: Duration,
    /// Transfers of inputs to the stage's device and into its memory order. JSON: `transfer_seconds`.
    #[serde(rename = "transfer_seconds", with = "seconds")]
    pub transfer: Duration,
    /// All waiting: the sum of the next three. JSON: `waited_seconds`.
    #[serde(rename = "waited_seconds", with = "seconds")]
    pub waited: Duration,
    /// Waiting for the loader. JSON: `loader_seconds`.
    #[serde(rename = "loader_seconds", with = "seconds")]
    pub loader: Duration,
    /// Waiting for a message of a neighbour. JSON: `receive_seconds`.
    #[serde(rename = "receive_seconds", with = "seconds")]
    pub receive: Duration,
    /// Waiting for room in the queue to a neighbour. JSON: `send_seconds`.
    #[serde(rename = "send_seconds", with = "seconds")]
    pub send: Duration,
    /// Wall time between actions. JSON: `unaccounted_seconds`.
    #[serde(rename = "unaccounted_seconds", with = "seconds")]
    pub unaccounted: Duration,
    /// Updates between forward and backward of a batch: the mean over the batches. The first batches of a run have fewer
    /// than the schedule's m_k.
    pub staleness_mean: f64,
    /// Updates between forward and backward of a batch: the maximum.
    pub staleness_max: usize,
    /// Number of batches with a staleness of 0, 1, 2, …, up to the largest that occurred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staleness_counts: Vec<usize>,
    /// The part of its busy time that was artificial delay as a straggler. JSON: `delayed_seconds`.
    #[serde(rename = "delayed_seconds", with = "seconds", default)]
    pub delayed: Duration,
    /// How far the weights move between forward and backward, ‖w − w_forward‖ / ‖w‖: the mean over the batches at which it
    /// was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_mean: Option<f64>,
}

/// One epoch of training, and the evaluation after it.
///
/// With n batches per epoch, epoch e of the run has the batches e·n … (e+1)·n − 1. Each stage ends it with its own update of
/// the last batch. Lower stages have by then run forward passes of the next epoch; their time counts in the epoch in which
/// they ran. Evaluations and snapshots are not part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochSummary {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Epochs of the whole run. The last may be shorter than the others.
    pub epochs: usize,
    /// Version of the parameters at its end: the batches trained since version 0.
    pub version: usize,
    /// Batches trained in this epoch.
    pub batches: usize,
    /// Mean training loss over the samples; it and the next three are 0 where nothing was [learned](EpochSummary::has_learned).
    pub train_loss: f64,
    /// Training samples whose label had the highest score, in percent.
    pub train_top1: f64,
    /// Training samples whose label was among the five highest scores, in percent.
    pub train_top5: f64,
    /// Learning rate of the last batch.
    pub learning_rate: f64,
    /// Mean test loss. `None`, as the two below, without an evaluation.
    pub test_loss: Option<f64>,
    /// Test samples whose label had the highest score, in percent.
    pub test_top1: Option<f64>,
    /// Test samples whose label was among the five highest scores, in percent.
    pub test_top5: Option<f64>,
    /// `test_loss` by the running mean of the weights, where it is kept. JSON: only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_loss: Option<f64>,
    /// `test_top1` by the running mean of the weights, where it is kept. JSON: only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_top1: Option<f64>,
    /// Samples of the epoch per second of `wall`.
    pub images_per_second: f64,
    /// Training time of the last stage. JSON: `wall_seconds`.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// The stages, first to last.
    pub stages: Vec<StageSummary>,
    /// One minus the mean busy share of the stages.
    pub bubble_share: f64,
    /// Whether the stages slept instead of computing: losses and accuracies are then none. JSON: only where it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emulated: bool,
}

impl EpochSummary {
    /// Whether it has losses and accuracies: not in an emulated run, nor where every batch was left out, as its loss was not finite.
    #[must_use]
    pub fn has_learned(&self) -> bool {
        self.batches > 0 && !self.emulated
    }
}

/// A whole run, to compare throughputs. Times leave out evaluations, snapshots and the batches that are not counted at the
/// start.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Batches counted.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// Samples per second of `wall`; 0 without a counted batch.
    pub images_per_second: f64,
    /// Training time of the last stage.
    pub wall: Duration,
    /// The stages, first to last.
    pub stages: Vec<StageSummary>,
    /// One minus the mean busy share of the stages.
    pub bubble_share: f64,
    /// Version and top-1 test accuracy, in percent, of the best evaluation; the earliest if several are equal.
    pub best_test_top1: Option<(usize, f64)>,
}
