//! PipeMare: asynchronous pipeline training on one copy of the weights.
//!
//! Source: Yang, Zhang, Li, Ré, Aberger, De Sa, "PipeMare: Asynchronous Pipeline Parallel DNN
//! Training", MLSys 2021, arXiv 1910.05124. T1 is [`Rescheduling`], T2 is [`Discrepancy`]; T3 trains
//! synchronously at first.
//!
//! Notation: `pipemare`, `pipemare(anneal=2000, decay=0.5, sync=0)`. m_k = K−1−k; inputs are kept,
//! and the backward pass runs its forward pass again at the newest weights, moved back by T2 towards
//! those of the forward pass. `anneal` is T1's number of batches (0: off), `decay` T2's D (0: off),
//! `sync` T3's number of first batches that run without staleness, after which T1 begins. The values
//! shown are the ones that hold unless given: our choice, with T3 off, which the paper needs for
//! language models only, as far as we know. The paper keeps activations instead of inputs; and its
//! delays are in microbatches of fixed weights, ours in updates. Locks removed: backward and update.
//! Cost: one weight copy and, on stages with m > 0, T2's running mean of updates, as large; the inputs
//! of K−k batches at stage k; a second forward pass on every stage but the last; no bubble without
//! jitter and transfer times, after T3.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::mitigations::{ANNEAL_BATCHES, MAX_ANNEAL_BATCHES};
use crate::notation::{Arguments, Fault, Group};
use crate::{
    BackwardWeights, Corrections, Discrepancy, Method, NotationProblem, Relation, Rescheduling,
    StagePolicy, delayed_policy,
};

/// T2's D unless given. Our choice.
const DECAY: f64 = 0.5;

/// PipeMare with the numbers of T1, T2 and T3.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PipeMare {
    stages: usize,
    anneal_batches: usize,
    decay: f64,
    synchronous_batches: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    format!("pipemare(anneal={ANNEAL_BATCHES}, decay={DECAY}, sync=0)")
}

/// `pipemare` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let [anneal, decay, sync] = arguments.lists(["anneal", "decay", "sync"])?;
    let batches = |name, group: Option<&Group>, otherwise| match group {
        None => Ok(otherwise),
        Some(group) => Ok::<_, Fault>(group.whole(name, 0..=MAX_ANNEAL_BATCHES)?.value),
    };
    let anneal_batches = batches("anneal", anneal, ANNEAL_BATCHES)?;
    let decay = decay.map_or(Ok(DECAY), read_decay)?;
    let synchronous_batches = batches("sync", sync, 0)?;
    let stages = stages_given("pipemare", stages)?;
    Ok(Arc::new(PipeMare {
        stages,
        anneal_batches,
        decay,
        synchronous_batches,
    }))
}

/// D is 0, or large and small enough for its roots to be neither 0 nor 1.
fn read_decay(decay: &Group) -> Result<f64, Fault> {
    let value = decay.real("decay", 0.0..=0.999)?;
    if value > 0.0 && value < 0.001 {
        return Err(decay.fault(NotationProblem::OutOfRange {
            name: "decay",
            range: "0, or from 0.001 to 0.999".to_owned(),
            found: value.to_string(),
        }));
    }
    Ok(value)
}

impl Method for PipeMare {
    fn name(&self) -> &'static str {
        "pipemare"
    }

    fn title(&self) -> &'static str {
        "PipeMare"
    }

    fn notation(&self) -> String {
        let (anneal, decay, sync) = (self.anneal_batches, self.decay, self.synchronous_batches);
        if (anneal, decay, sync) == (ANNEAL_BATCHES, DECAY, 0) {
            return "pipemare".to_owned();
        }
        format!("pipemare(anneal={anneal}, decay={decay}, sync={sync})")
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, stage: usize) -> usize {
        self.stages - 1 - stage
    }

    fn synchronous_batches(&self) -> usize {
        self.synchronous_batches
    }

    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        let policy = delayed_policy(self, stage, micro_batches);
        StagePolicy {
            backward_weights: if self.decay > 0.0 && policy.staleness > 0 {
                BackwardWeights::Corrected
            } else {
                BackwardWeights::Current
            },
            ..policy
        }
    }

    fn corrections(&self) -> Corrections {
        Corrections {
            rescheduling: (self.anneal_batches > 0).then_some(Rescheduling {
                anneal_batches: self.anneal_batches,
                first_batch: self.synchronous_batches,
            }),
            discrepancy: (self.decay > 0.0).then_some(Discrepancy { decay: self.decay }),
            ..Corrections::default()
        }
    }

    fn meaning(&self) -> String {
        "Stage k forwards batch n + K−1−k and keeps its input; then it runs batch n forward again \
         at weights that lie between its newest ones and an estimate of those of the forward pass, \
         pulls back through that, and updates. Stale stages start with smaller learning rates."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![
            Relation::new(
                "fr",
                "The same program at the newest weights, without T1, T2 and T3.",
            ),
            Relation::new("fr + reschedule", "T1 alone; so is pipemare(decay=0)."),
            Relation::new(
                "pipedream",
                "Stashes the weights that PipeMare estimates: K−k copies, no recompute.",
            ),
        ]
    }
}
