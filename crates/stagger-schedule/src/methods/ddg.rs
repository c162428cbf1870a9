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

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation, StagePolicy, delayed_policy};

/// Decoupled parallel backpropagation (DDG) on a number of stages.
#[derive(Debug)]
struct Ddg {
    stages: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "ddg".to_owned()
}

/// `ddg` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    arguments.none("ddg")?;
    let stages = stages_given("ddg", stages)?;
    Ok(Arc::new(Ddg { stages }))
}

impl Method for Ddg {
    fn name(&self) -> &'static str {
        "ddg"
    }

    fn title(&self) -> &'static str {
        "Decoupled parallel backpropagation (DDG)"
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        self.stages - 1 - stage
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn meaning(&self) -> String {
        "Stage k pulls back the batch that it forwarded K−1−k updates ago, through the graph and \
         the weights of that time, with the gradient that the stage above has sent, and updates its \
         newest weights. As published, all stages wait for each other in every iteration; here none \
         does."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![
            Relation::new(
                "pipedream",
                "The same run, bit for bit, found independently.",
            ),
            Relation::new(
                "fr",
                "The same staleness, but the backward pass runs at the newest weights, for which it \
                 runs the forward pass again: no stash, a third more compute.",
            ),
            Relation::new(
                "fdg",
                "Twice the staleness: the forward lock is gone as well.",
            ),
        ]
    }
}
