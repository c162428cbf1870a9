//! The sums of an epoch at a version in the middle of it. A snapshot holds them, so that a resumed run continues them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// An epoch up to a version, as [`EpochTally`](crate::EpochTally) counts it. All numbers but the times are exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochProgress {
    /// The version: the batches trained since the start of the run.
    pub version: usize,
    /// Time from the start of the run until its last stage reached this version. JSON: `elapsed_seconds`.
    #[serde(rename = "elapsed_seconds", with = "seconds")]
    pub elapsed: Duration,
    /// Sums over the trained batches of the epoch. JSON: their fields are beside the others.
    #[serde(flatten)]
    pub trained: TrainedSums,
    /// The stages, from stage 0 up.
    pub stages: Vec<StageProgress>,
    /// The epoch that ends at this version, while its evaluation is still to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedEpoch>,
}

impl EpochProgress {
    /// Makes the epoch that has ended one that goes on.
    pub(crate) fn go_on(&mut self) {
        if let Some(EndedEpoch { trained, stages }) = self.ended.take() {
            (self.trained, self.stages) = (trained, stages);
        }
    }
}

/// An epoch that is trained and not evaluated yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedEpoch {
    /// Sums over its batches.
    pub trained: TrainedSums,
    /// The stages, from stage 0 up.
    pub stages: Vec<StageProgress>,
}

/// Sums over trained batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainedSums {
    /// Batches.
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
}

/// What one stage has done in an epoch so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Training time: the time without evaluations and snapshots. JSON: `wall_seconds`, and likewise below.
    #[serde(rename = "wall_seconds", with = "seconds")]
    pub wall: Duration,
    /// Forward passes.
    #[serde(rename = "forward_seconds", with = "seconds")]
    pub forward: Duration,
    /// Recomputed forward passes.
    #[serde(rename = "recompute_seconds", with = "seconds")]
    pub recompute: Duration,
    /// Backward passes, or the first halves of them.
    #[serde(rename = "backward_seconds", with = "seconds")]
    pub backward: Duration,
    /// Gradients of weights, where backward passes are split.
    #[serde(
        rename = "weights_seconds",
        with = "seconds",
        default,
        skip_serializing_if = "Duration::is_zero"
    )]
    pub weights: Duration,
    /// Optimizer steps.
    #[serde(rename = "update_seconds", with = "seconds")]
    pub update: Duration,
    /// Transfers of inputs to the device.
    #[serde(rename = "transfer_seconds", with = "seconds")]
    pub transfer: Duration,
    /// Waiting for the loader.
    #[serde(rename = "loader_seconds", with = "seconds")]
    pub loader: Duration,
    /// Waiting for a message of a neighbour.
    #[serde(rename = "receive_seconds", with = "seconds")]
    pub receive: Duration,
    /// Waiting for room in the queue to a neighbour.
    #[serde(rename = "send_seconds", with = "seconds")]
    pub send: Duration,
    /// Artificial delay as a straggler.
    #[serde(rename = "delayed_seconds", with = "seconds")]
    pub delayed: Duration,
    /// Backward passes whose gap was measured.
    pub gaps: usize,
    /// Sum of those gaps.
    pub gap_sum: f64,
    /// Number of backward passes with a staleness of 0, 1, 2, …, up to the largest that occurred.
    pub staleness_counts: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are a promise to snapshots that are on disk.
    #[test]
    fn sums_are_beside_the_other_fields() {
        let progress = EpochProgress {
            version: 3,
            trained: TrainedSums {
                loss_sum: 0.1 + 0.2,
                ..TrainedSums::default()
            },
            ..EpochProgress::default()
        };
        let json = serde_json::to_string(&progress).unwrap();
        insta::assert_snapshot!(json, @r#"{"version":3,"elapsed_seconds":0.0,"batches":0,"samples":0,"loss_sum":0.30000000000000004,"correct_top1":0,"correct_top5":0,"learning_rate":0.0,"stages":[]}"#);
        assert_eq!(
            serde_json::from_str::<EpochProgress>(&json).unwrap(),
            progress
        );
        let value = serde_json::to_value(&progress).unwrap();
        assert_eq!(
            serde_json::from_value::<EpochProgress>(value).unwrap(),
            progress
        );
    }
}
