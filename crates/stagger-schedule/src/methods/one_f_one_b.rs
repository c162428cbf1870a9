//! 1F1B: GPipe's numbers with fewer graphs held at a time.
//!
//! Source of the order: Narayanan, Harlap, Phanishayee, Seshadri, Devanur, Ganger, Gibbons,
//! Zaharia, "PipeDream: Generalized Pipeline Parallelism for DNN Training", SOSP 2019; with a flush
//! per batch: Narayanan, Phanishayee, Shi, Chen, Zaharia, "Memory-Efficient Pipeline-Parallel DNN
//! Training" (PipeDream-Flush), ICML 2021, arXiv 2006.09503.
//!
//! Notation: `1f1b(M)`. Stage k forwards min(M, K−k) micro-batches of a batch, then alternates one
//! backward and one forward pass, drains, and updates once. Locks removed: none between batches.
//! Cost: one weight copy, the graphs of min(M, K−k) micro-batches, no extra compute, and GPipe's
//! bubble of (K−1)/(M+K−1) of the time.

use std::sync::Arc;

use super::{Built, gpipe, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation};

/// 1F1B with M micro-batches.
#[derive(Debug)]
struct OneForwardOneBackward {
    stages: usize,
    micro_batches: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "1f1b(4)".to_owned()
}

/// `1f1b(M)` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let micro_batches = gpipe::micro_batches("1f1b", arguments)?;
    let stages = stages_given("1f1b", stages)?;
    Ok(Arc::new(OneForwardOneBackward {
        stages,
        micro_batches,
    }))
}

impl Method for OneForwardOneBackward {
    fn name(&self) -> &'static str {
        "1f1b"
    }

    fn title(&self) -> &'static str {
        "One forward, one backward, with a flush"
    }

    fn notation(&self) -> String {
        format!("1f1b({})", self.micro_batches)
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

    fn synchronous_batches(&self) -> usize {
        usize::MAX
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some("`1f1b(M)` sums over the micro-batches of a batch already; take a larger M".to_owned())
    }

    fn meaning(&self) -> String {
        "A batch travels in micro-batches. Each stage forwards as many of them as there are stages \
         from it to the top, then pulls one back for every one it forwards, and updates once when \
         all have come down. Every gradient is exact, and stages wait while the pipeline fills and \
         empties."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let m = self.micro_batches;
        vec![
            Relation::new(
                format!("gpipe({m})"),
                "The same numbers, bit for bit: all micro-batches go up before the first comes \
                 down, so it holds M graphs per stage.",
            ),
            Relation::new(
                format!("zb({m})"),
                "The same numbers, bit for bit, with backward passes in two halves, of which the \
                 second fills the bubble at the end of a batch.",
            ),
            Relation::new(
                format!("2bw({})", m.max(self.stages)),
                "The same order without the flush: no bubble, gradients that are one update stale, \
                 and a second copy of the weights.",
            ),
        ]
    }
}
