//! What is known of an epoch in the middle of it: part of a snapshot, so that a resumed run counts on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// An epoch up to a version, as [`EpochTally`](crate::EpochTally) counts it. Every number that does not measure time is exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochProgress {
    /// The version: the batches trained since the start of the run.
    pub version: usize,
    /// Time that the run had taken when its last stage was there. JSON: `elapsed_seconds`.
    #[serde(rename = "elapsed_seconds", with = "seconds")]
    pub elapsed: Duration,
    /// Batches of the epoch that are trained.
    pub batches: usize,
    /// Samples in them.
    pub samples: usize,
    /// Sum of the losses of those samples.
    pub loss_sum: f64,
    /// Samples whose label had the highest score.
    pub correct_top1: usize,
    /// Samples whose label was among the five highest scores.
    pub correct_top5: usize,
    /// Learning rate of the last batch.
    pub learning_rate: f64,
    /// From stage 0 up.
    pub stages: Vec<StageProgress>,
}

/// What one stage has done in an epoch so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Time without evaluations and snapshots. As all times here, in seconds.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// Forward passes.
    #[serde(rename = "forward_seconds", with = "seconds")]
    pub forward: Duration,
    /// Recomputed forward passes.
    #[serde(rename = "recompute_seconds", with = "seconds")]
    pub recompute: Duration,
    /// Backward passes.
    #[serde(rename = "backward_seconds", with = "seconds")]
    pub backward: Duration,
    /// Optimizer steps.
    #[serde(rename = "update_seconds", with = "seconds")]
    pub update: Duration,
    /// Bringing inputs to the device.
    #[serde(rename = "transfer_seconds", with = "seconds")]
    pub transfer: Duration,
    /// Waiting for the loader.
    #[serde(rename = "loader_seconds", with = "seconds")]
    pub loader: Duration,
    /// Waiting for a neighbour to send.
    #[serde(rename = "receive_seconds", with = "seconds")]
    pub receive: Duration,
    /// Waiting for room in a neighbour's queue.
    #[serde(rename = "send_seconds", with = "seconds")]
    pub send: Duration,
    /// Asleep as a straggler.
    #[serde(rename = "delayed_seconds", with = "seconds")]
    pub delayed: Duration,
    /// Backward passes whose gap was measured.
    pub gaps: usize,
    /// Sum of those gaps.
    pub gap_sum: f64,
    /// Backward passes of a staleness of 0, 1, 2, …; as long as it has to be.
    pub staleness_counts: Vec<usize>,
}
