//! PipeDream: a pipeline without flushes, with weight stashing.
//!
//! Source: Narayanan, Harlap, Phanishayee, Seshadri, Devanur, Ganger, Gibbons, Zaharia, "PipeDream:
//! Generalized Pipeline Parallelism for DNN Training", SOSP 2019 (weight stashing, without vertical
//! sync and without replicated stages).
//!
//! Notation: `pipedream`. m_k = K−1−k; the backward pass of a batch uses the weights and the graph
//! of its forward pass. Locks removed: backward and update. Cost: K−k weight versions and as many
//! graphs at stage k, no extra compute, no bubble without jitter and transfer times. DDG is the same
//! program.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation, StagePolicy, delayed_policy};

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "pipedream".to_owned()
}

/// `pipedream` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let words = Words {
        name: "pipedream",
        title: "PipeDream",
        meaning: "Stage k forwards batch n + K−1−k, keeping the graph and the weights, then pulls batch n back \
                  through the graph and the weights of its own forward pass, and updates its newest weights with \
                  that gradient.",
        twin: "ddg",
        neighbour: |stages| {
            Relation::new(
                format!("2bw({})", stages.max(4)),
                "Updates once per several micro-batches, so that two copies of the weights are enough.",
            )
        },
    };
    stashed(words, arguments, stages)
}

/// The method of this file and of `ddg.rs`: they differ in words alone.
pub(super) fn stashed(words: Words, arguments: &Arguments, stages: Option<usize>) -> Built {
    arguments.none(words.name)?;
    let stages = stages_given(words.name, stages)?;
    Ok(Arc::new(Stashed { stages, words }))
}

/// How a paper calls the method, and what it says of it.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) meaning: &'static str,
    /// The other name in the notation.
    pub(super) twin: &'static str,
    /// The neighbour that the paper leads to, for a number of stages.
    pub(super) neighbour: fn(usize) -> Relation,
}

/// Delays of K−1−k, with stashed weights, on a number of stages.
#[derive(Debug)]
struct Stashed {
    stages: usize,
    words: Words,
}

impl Method for Stashed {
    fn name(&self) -> &'static str {
        self.words.name
    }

    fn title(&self) -> &'static str {
        self.words.title
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
        self.words.meaning.to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![
            Relation::new(
                self.words.twin,
                "The same run, bit for bit, found independently.",
            ),
            Relation::new(
                "fr",
                "The same staleness, but the backward pass runs at the newest weights, for which it \
                 runs the forward pass again: no stash, a third more compute.",
            ),
            (self.words.neighbour)(self.stages),
        ]
    }
}
