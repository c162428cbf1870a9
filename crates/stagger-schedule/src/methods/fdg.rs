//! FDG: fully decoupled training with delayed gradients.
//!
//! Source: Zhuang, Wang, Liu, Lin, "Fully Decoupled Neural Network Learning Using Delayed
//! Gradients", IEEE TNNLS 33(10), 2022, arXiv 1906.09108.
//!
//! Notation: `fdg`, `fdg(beta=0.9)`. m_k = 2(K−1−k); the backward pass of a batch uses the weights
//! and the graph of its forward pass, and the gradient sent down is multiplied by β at every
//! boundary ([`Shrinking`]). β is 1 unless given, which shrinks nothing: the choice of the paper is
//! not known to us. Locks removed: all three. Cost: 2(K−1−k) + 1 weight versions and as many graphs
//! at stage k, no extra compute, no bubble.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::{Arguments, Fault, Group};
use crate::{Corrections, Method, Relation, Shrinking, StagePolicy, delayed_policy};

/// FDG with the factor β of every boundary.
#[derive(Debug)]
struct Fdg {
    stages: usize,
    beta: f64,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "fdg(beta=0.9)".to_owned()
}

/// `fdg` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let [beta] = arguments.lists(["beta"])?;
    let beta = read_beta(beta)?;
    let stages = stages_given("fdg", stages)?;
    Ok(Arc::new(Fdg { stages, beta }))
}

/// β from its list, 1 without one.
pub(super) fn read_beta(beta: Option<&Group>) -> Result<f64, Fault> {
    beta.map_or(Ok(1.0), |beta| beta.real("beta", 0.001..=1.0))
}

/// The correction that β stands for; none at 1.
pub(super) fn shrinking(beta: f64) -> Corrections {
    Corrections {
        shrinking: (beta < 1.0).then_some(Shrinking { beta }),
        ..Corrections::default()
    }
}

impl Method for Fdg {
    fn name(&self) -> &'static str {
        "fdg"
    }

    fn title(&self) -> &'static str {
        "Fully decoupled training with delayed gradients (FDG)"
    }

    fn notation(&self) -> String {
        if self.beta == 1.0 {
            "fdg".to_owned()
        } else {
            format!("fdg(beta={})", self.beta)
        }
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        2 * (self.stages - 1 - stage)
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches).stashed()
    }

    fn corrections(&self) -> Corrections {
        shrinking(self.beta)
    }

    fn meaning(&self) -> String {
        "Stage k pulls back the batch that it forwarded 2(K−1−k) updates ago, through the graph and \
         the weights of that time, and updates its newest weights. Activations and gradients wait \
         in queues, so no stage waits for another; lower stages see smaller gradients where β is \
         below 1."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let beta = match self.beta {
            1.0 => String::new(),
            beta => format!(", beta={beta}"),
        };
        vec![
            Relation::new(
                format!("adl(1{beta})"),
                "The same run, bit for bit: ADL with an update after every batch.",
            ),
            Relation::new(
                super::dsp::example(Some(self.stages)),
                "The same staleness, but inputs are kept and the backward pass runs at the newest \
                 weights: one weight copy and no graphs below the last stage, for a second forward \
                 pass.",
            ),
            Relation::new("ddg", "Half the staleness, which leaves the forward lock."),
        ]
    }
}
