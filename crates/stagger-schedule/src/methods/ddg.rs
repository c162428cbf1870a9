//! DDG: decoupled parallel backpropagation with delayed gradients.
//!
//! Source: Huo, Gu, Yang, Huang, "Decoupled Parallel Backpropagation with Convergence Guarantee",
//! ICML 2018, arXiv 1804.10574.
//!
//! Notation: `ddg`. m_k = K−1−k; the backward pass of a batch uses the weights and the graph of its
//! forward pass. Locks removed: backward and update. The published algorithm has a barrier per
//! iteration: the forward pass of a batch goes through all stages before any pulls back. There is
//! none in this runtime, so DDG runs at its best, and is the same program as PipeDream. Cost: K−k
//! weight versions and as many graphs at stage k, no extra compute, no bubble without jitter and
//! transfer times.

use super::Built;
use super::pipedream::{self, Words};
use crate::Relation;
use crate::notation::Arguments;

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "ddg".to_owned()
}

/// `ddg` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let words = Words {
        name: "ddg",
        title: "Decoupled parallel backpropagation (DDG)",
        meaning: "Stage k pulls back the batch that it forwarded K−1−k updates ago, through the graph and the weights \
                  of that time, with the gradient that the stage above has sent, and updates its newest weights. As \
                  published, all stages wait for each other in every iteration; here none does.",
        twin: "pipedream",
        neighbour: |_stages| {
            Relation::new(
                "fdg",
                "Twice the staleness: the forward lock is gone as well.",
            )
        },
    };
    pipedream::stashed(words, arguments, stages)
}
