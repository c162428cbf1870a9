//! ADL: accumulated decoupled learning.
//!
//! Source: Zhuang, Lin, Toh, "Accumulated Decoupled Learning: Mitigating Gradient Staleness in
//! Inter-Layer Model Parallelization", arXiv 2012.03747.
//!
//! Notation: `adl(M)`, `adl(M, beta=0.9)`. Forward passes are ahead of backward passes by 2(K−1−k)
//! micro-batches, and a stage updates after every M of them, so that only ⌈2(K−1−k)/M⌉ updates come
//! in between. The backward pass uses the weights and the graph of its forward pass. A batch, which
//! is what one update sees, is cut into M micro-batches; the paper adds up M batches, so take M times
//! its batch. β shrinks gradients as in FDG; it is 1 unless given. Locks removed: all three. Cost:
//! ⌈2(K−1−k)/M⌉ + 1 weight versions and the graphs of 2(K−1−k) + 1 micro-batches at stage k, no extra
//! compute, no bubble.

use std::sync::Arc;

use super::{Built, fdg, stages_given};
use crate::notation::Arguments;
use crate::{
    Corrections, MAX_MICRO_BATCHES, Method, NotationProblem, Relation, StagePolicy, delayed_policy,
};

/// ADL with M micro-batches per update and the factor β of every boundary.
#[derive(Debug)]
struct Adl {
    stages: usize,
    micro_batches: usize,
    beta: f64,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "adl(4)".to_owned()
}

/// `adl(M, beta=β)` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let [micro_batches, beta] = arguments.lists(["M", "beta"])?;
    let missing = NotationProblem::MissingNumber {
        method: "adl",
        what: "a number of micro-batches per update",
        example: 4,
    };
    let micro_batches = micro_batches.ok_or_else(|| arguments.fault(missing))?;
    let micro_batches = micro_batches.whole("M", 1..=MAX_MICRO_BATCHES)?.value;
    let beta = fdg::read_beta(beta)?;
    let stages = stages_given("adl", stages)?;
    Ok(Arc::new(Adl {
        stages,
        micro_batches,
        beta,
    }))
}

impl Method for Adl {
    fn name(&self) -> &'static str {
        "adl"
    }

    fn title(&self) -> &'static str {
        "Accumulated decoupled learning (ADL)"
    }

    fn notation(&self) -> String {
        let m = self.micro_batches;
        match self.beta {
            1.0 => format!("adl({m})"),
            beta => format!("adl({m}, beta={beta})"),
        }
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        2 * (self.stages - 1 - stage)
    }

    fn micro_batches(&self) -> usize {
        self.micro_batches
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn corrections(&self) -> Corrections {
        fdg::shrinking(self.beta)
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some("`adl(M)` accumulates M micro-batches per update already; take a larger M".to_owned())
    }

    fn meaning(&self) -> String {
        "Stage k pulls back the micro-batch that it forwarded 2(K−1−k) micro-batches ago, through \
         the graph and the weights of that time, and updates once per batch, so that fewer updates \
         than micro-batches come in between. No stage waits for another."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let fdg = match self.beta {
            1.0 => "fdg".to_owned(),
            beta => format!("fdg(beta={beta})"),
        };
        let difference = match self.micro_batches {
            1 => "The same run, bit for bit.",
            _ => "An update after every micro-batch: M times as many updates, and as much staler.",
        };
        let accumulated = format!("{} + accumulate(M)", super::dsp::example(Some(self.stages)));
        vec![
            Relation::new(fdg, difference),
            Relation::new(
                accumulated,
                "The same staleness, at the newest weights, with recompute instead of stashes.",
            ),
        ]
    }
}
