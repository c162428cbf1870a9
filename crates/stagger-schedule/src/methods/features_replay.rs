//! FR: Features Replay.
//!
//! Source: Huo, Gu, Huang, "Training Neural Networks Using Features Replay", NeurIPS 2018, arXiv
//! 1807.04511.
//!
//! Notation: `fr`. m_k = K−1−k; only inputs are kept, and the backward pass of a batch runs its
//! forward pass again at the newest weights. That is DSP with m = K−1, …, 0, bit for bit. Locks
//! removed: backward and update. The published algorithm has a barrier per iteration, as the forward
//! pass of a batch goes through all stages first; there is none in this runtime. Cost: one weight
//! copy, the inputs of K−k batches at stage k, a second forward pass on every stage but the last, no
//! bubble without jitter and transfer times.

use std::sync::Arc;

use super::{Built, dsp, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation};

/// Features Replay on a number of stages.
#[derive(Debug)]
struct FeaturesReplay {
    stages: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "fr".to_owned()
}

/// `fr` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    arguments.none("fr")?;
    let stages = stages_given("fr", stages)?;
    Ok(Arc::new(FeaturesReplay { stages }))
}

impl Method for FeaturesReplay {
    fn name(&self) -> &'static str {
        "fr"
    }

    fn title(&self) -> &'static str {
        "Features Replay"
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        self.stages - 1 - stage
    }

    fn meaning(&self) -> String {
        "Stage k keeps the inputs of the last K−k batches. It runs the one of K−1−k updates ago \
         forward again at its newest weights, pulls the gradient from above back through that, and \
         updates. As published, all stages wait for each other in every iteration; here none does."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let staleness: Vec<usize> = (0..self.stages).rev().collect();
        vec![
            Relation::new(
                dsp::notation_of_staleness(&staleness),
                "The same numbers, bit for bit; the queues may differ, which only moves time.",
            ),
            Relation::new(
                dsp::example(Some(self.stages)),
                "The smallest lock-free DSP: more staleness, so that no stage waits where times \
                 jitter or transfers take long.",
            ),
            Relation::new(
                "ddg",
                "The same staleness, but the backward pass uses the stashed weights and graph of \
                 the forward pass: no recompute, for K−k weight copies and as many graphs.",
            ),
        ]
    }
}
