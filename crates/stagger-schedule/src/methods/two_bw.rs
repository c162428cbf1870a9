//! 2BW: PipeDream-2BW, a pipeline without flushes on two weight buffers.
//!
//! Source: Narayanan, Phanishayee, Shi, Chen, Zaharia, "Memory-Efficient Pipeline-Parallel DNN
//! Training", ICML 2021, arXiv 2006.09503: w^(t+1) = w^t − η·∇f(w^(t−1)).
//!
//! Notation: `2bw(M)`, also `pipedream-2bw(M)`, with M ≥ K. The order is that of 1F1B without the
//! flush: forward passes are ahead of backward passes by K−1−k micro-batches. Batch j runs forward
//! and backward at w^max(j−1,0), so that the gradient is one update stale, the same at every stage.
//! M ≥ K makes sure that w^(j−1) is there when the first micro-batch of batch j comes. Locks removed:
//! backward and update. Cost: two weight copies, the graphs of K−k micro-batches at stage k, no extra
//! compute, no bubble without jitter and transfer times.

use std::sync::Arc;

use super::{Built, gpipe, stages_given};
use crate::notation::Arguments;
use crate::{
    BackwardWeights, ForwardWeights, Kept, Method, NotationProblem, Relation, StagePolicy,
    delayed_policy,
};

/// PipeDream-2BW with M micro-batches per update.
#[derive(Debug)]
struct TwoBufferedWeights {
    stages: usize,
    micro_batches: usize,
}

/// A right notation: M has to be the number of stages at least.
pub(super) fn example(stages: Option<usize>) -> String {
    format!("2bw({})", stages.unwrap_or(4).max(4))
}

/// `2bw(M)` fits every number of stages up to M.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let micro_batches = gpipe::micro_batches("2bw", arguments)?;
    let stages = stages_given("2bw", stages)?;
    if micro_batches < stages {
        return Err(arguments.fault(NotationProblem::OutOfRange {
            name: "M",
            range: format!("at least {stages}, the number of stages"),
            found: micro_batches.to_string(),
        }));
    }
    Ok(Arc::new(TwoBufferedWeights {
        stages,
        micro_batches,
    }))
}

impl Method for TwoBufferedWeights {
    fn name(&self) -> &'static str {
        "2bw"
    }

    fn title(&self) -> &'static str {
        "PipeDream with double-buffered weights (PipeDream-2BW)"
    }

    fn notation(&self) -> String {
        format!("2bw({})", self.micro_batches)
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        self.stages - 1 - stage
    }

    fn micro_batches(&self) -> usize {
        self.micro_batches
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        StagePolicy {
            staleness: 1,
            forward_weights: ForwardWeights::Previous,
            backward_weights: BackwardWeights::Stashed,
            kept: Kept::Graph,
            ..delayed_policy(self, stage, micro_batches)
        }
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some("`2bw(M)` accumulates M micro-batches per update already; take a larger M".to_owned())
    }

    fn meaning(&self) -> String {
        "Micro-batches follow each other without a flush, and a stage updates after every M of \
         them. While a stage updates, micro-batches of the next batch are under way already; so \
         all of a batch runs, forward and backward, at the weights of the update before, on every \
         stage, and the update goes to the newest ones."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let m = self.micro_batches;
        vec![
            Relation::new(
                format!("1f1b({m})"),
                "The same order with a flush before every update: exact gradients, one weight copy, \
                 and a bubble.",
            ),
            Relation::new(
                "pipedream",
                "An update after every batch: staler below, on up to K weight copies.",
            ),
            Relation::new(
                format!("adl({m})"),
                "Also updates every M micro-batches; twice as far ahead, so that no stage waits \
                 where times jitter, and stale by as many updates as that takes.",
            ),
        ]
    }
}
