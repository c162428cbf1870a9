//! What an epoch, or a whole run, came to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// What one stage did in an epoch: where its training wall went. Forward, recompute, backward, update and transfer are
/// its busy time; they, `waited` and `unaccounted` add up to the wall.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Share of its training wall in which it computed, 0 to 1.
    pub busy_share: f64,
    /// Forward passes (with the graph, where there is no recompute). JSON: `forward_seconds`.
    #[serde(rename = "forward_seconds", with = "seconds")]
    pub forward: Duration,
    /// Recomputed forward passes. JSON: `recompute_seconds`.
    #[serde(rename = "recompute_seconds", with = "seconds")]
    pub recompute: Duration,
    /// Backward passes. JSON: `backward_seconds`.
    #[serde(rename = "backward_seconds", with = "seconds")]
    pub backward: Duration,
    /// Optimizer steps. JSON: `update_seconds`.
    #[serde(rename = "update_seconds", with = "seconds")]
    pub update: Duration,
    /// Bringing inputs to the stage's device and into its memory order. JSON: `transfer_seconds`.
    #[serde(rename = "transfer_seconds", with = "seconds")]
    pub transfer: Duration,
    /// Waiting for a neighbour or for the loader: the next three together. JSON: `waited_seconds`.
    #[serde(rename = "waited_seconds", with = "seconds")]
    pub waited: Duration,
    /// Waiting for the loader. JSON: `loader_seconds`.
    #[serde(rename = "loader_seconds", with = "seconds")]
    pub loader: Duration,
    /// Waiting for a neighbour to send. JSON: `receive_seconds`.
    #[serde(rename = "receive_seconds", with = "seconds")]
    pub receive: Duration,
    /// Waiting for room in a neighbour's queue. JSON: `send_seconds`.
    #[serde(rename = "send_seconds", with = "seconds")]
    pub send: Duration,
    /// Wall between actions that no action accounts for. JSON: `unaccounted_seconds`.
    #[serde(rename = "unaccounted_seconds", with = "seconds")]
    pub unaccounted: Duration,
    /// Updates between forward and backward of a batch, on average over the batches. The first
    /// batches of a run have fewer than the schedule's m_k.
    pub staleness_mean: f64,
    /// The same, at most.
    pub staleness_max: usize,
    /// How many batches had a staleness of 0, 1, 2, …; as long as it has to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staleness_counts: Vec<usize>,
    /// The part of its busy time that it slept as a straggler. JSON: `delayed_seconds`.
    #[serde(rename = "delayed_seconds", with = "seconds", default)]
    pub delayed: Duration,
    /// How far the weights move between forward and backward, ‖w − w_forward‖ / ‖w‖: the mean over the batches of which it
    /// was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_mean: Option<f64>,
}

/// One epoch of training, and the evaluation after it.
///
/// Epoch e of the run is the batches e·n … (e+1)·n − 1 of n per epoch. Each stage ends it with its
/// own update of the last batch; stages below the last have by then run forwards of the next epoch,
/// whose time counts where it was spent. Evaluations and snapshots are not part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochSummary {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Epochs of the whole run; the last may be shorter than the others.
    pub epochs: usize,
    /// Version of the parameters at its end: the batches trained since the start of the run.
    pub version: usize,
    /// Batches trained in this epoch.
    pub batches: usize,
    /// Mean training loss over the samples.
    pub train_loss: f64,
    /// Training samples whose label had the highest score, in percent.
    pub train_top1: f64,
    /// Training samples whose label was among the five highest scores, in percent.
    pub train_top5: f64,
    /// Learning rate of the last batch.
    pub learning_rate: f64,
    /// Mean test loss. As the two below, `None` without an evaluation.
    pub test_loss: Option<f64>,
    /// Test samples whose label had the highest score, in percent.
    pub test_top1: Option<f64>,
    /// Test samples whose label was among the five highest scores, in percent.
    pub test_top5: Option<f64>,
    /// Samples of the epoch per second of `wall`.
    pub images_per_second: f64,
    /// Training time of the last stage. JSON: `wall_seconds`.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// The stages, first to last.
    pub stages: Vec<StageSummary>,
    /// One minus the mean busy share of the stages.
    pub bubble_share: f64,
}

/// A whole run, for comparing throughputs. Times leave out evaluations, snapshots and the batches
/// that were skipped at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Batches counted.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// Samples per second of `wall`; 0 when nothing was counted.
    pub images_per_second: f64,
    /// Training time of the last stage.
    pub wall: Duration,
    /// The stages, first to last.
    pub stages: Vec<StageSummary>,
    /// One minus the mean busy share of the stages.
    pub bubble_share: f64,
    /// Version and top-1 test accuracy, in percent, of the best evaluation; the earlier of equals.
    pub best_test_top1: Option<(usize, f64)>,
}
