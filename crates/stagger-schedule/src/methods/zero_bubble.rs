//! Zero bubble, H1: 1F1B whose backward passes are split, so that gradients of weights fill the bubble at the end of a batch.
//!
//! Source: Qi, Wan, Huang, Lin, "Zero Bubble Pipeline Parallelism", ICLR 2024, arXiv 2401.10241: the hand-made schedule ZB-H1.
//!
//! Notation: `zb(M)`. Forward passes and the first halves of backward passes run in the order of `1f1b(M)`; the first half sends
//! the gradient of the input down, and stage k computes the gradients of weights k micro-batches later, the rest of them before
//! the update. Locks removed: none between batches. Cost: one weight copy and no extra compute. Stage k holds the graphs of
//! min(M, K−k) micro-batches and the pending halves of min(M, k+1), together those of min(M, K) at most, as stage 0 of 1F1B
//! does; a pending half holds inputs and output gradients of convolutions and linear layers. With halves of equal cost and
//! M ≥ K the bubble is (K−1)/(3M+K−1) of the time, with a third of the ticks of 1F1B's. (The paper's ZB-H2 and ZB-V hold more,
//! or interleave two chunks of a stage, and update before all stages know the norm of the gradient; here a run that clips
//! gradients waits for that norm in every update, and others do not.)

use std::sync::Arc;

use super::{Built, gpipe, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation, StagePolicy, delayed_policy};

/// ZB-H1 with M micro-batches.
#[derive(Debug)]
struct ZeroBubble {
    stages: usize,
    micro_batches: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "zb(4)".to_owned()
}

/// `zb(M)` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let micro_batches = gpipe::micro_batches("zb", arguments)?;
    let stages = stages_given("zb", stages)?;
    Ok(Arc::new(ZeroBubble {
        stages,
        micro_batches,
    }))
}

impl Method for ZeroBubble {
    fn name(&self) -> &'static str {
        "zb"
    }

    fn title(&self) -> &'static str {
        "Zero bubble (H1), with a flush"
    }

    fn notation(&self) -> String {
        format!("zb({})", self.micro_batches)
    }

    fn stages(&self) -> usize {
        self.stages
    }

    /// That of 1F1B.
    fn delay(&self, stage: usize) -> usize {
        self.stages - 1 - stage
    }

    fn micro_batches(&self) -> usize {
        self.micro_batches
    }

    fn synchronous_batches(&self) -> usize {
        usize::MAX
    }

    /// A stage puts off as many halves as its graphs are fewer than those of stage 0.
    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        StagePolicy {
            split: Some(stage),
            ..delayed_policy(self, stage, micro_batches)
        }
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some("`zb(M)` sums over the micro-batches of a batch already; take a larger M".to_owned())
    }

    fn meaning(&self) -> String {
        "As 1F1B, with every backward pass in two halves. The first pulls the gradient through the \
         stage and sends it down at once; the second, the gradients of the weights, is for no other \
         stage, so stage k puts it off by k micro-batches and does the rest while the last gradients \
         come down. Every gradient is exact, and the bubble is about a third of that of 1F1B."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let m = self.micro_batches;
        vec![
            Relation::new(
                format!("1f1b({m})"),
                "The same numbers, bit for bit, with whole backward passes: stages wait about three \
                 times as long, and those above stage 0 hold less.",
            ),
            Relation::new(
                format!("2bw({})", m.max(self.stages)),
                "No bubble at all, at the price of gradients that are one update stale and a second \
                 copy of the weights.",
            ),
        ]
    }
}
