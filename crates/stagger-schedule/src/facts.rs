//! What a schedule removes and what it costs, derived from its policies and programs.

mod locks;
mod measure;
mod speed;

pub use locks::{Lock, Locks};
pub use measure::{measured_staleness, most_kept};
pub use speed::{ideal_speedup, step_cost};

use crate::{BackwardWeights, Horizon, Kept, Schedule};

/// What a schedule removes and what it costs.
///
/// Costs are in the model of DESIGN: per layer, a forward pass costs 1, a backward pass 2 and a
/// recompute 1; updates and transfers are free.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which locks of backpropagation are removed.
    pub locks: Locks,
    /// Per stage, from stage 0 up.
    pub stages: Vec<StageFacts>,
    /// What recompute adds to the compute of backpropagation, as a share of it: 0.14 is 14 %.
    /// For stages cut such that all have the same work.
    pub extra_compute: f64,
    /// See [`ideal_speedup`].
    pub ideal_speedup: f64,
}

/// What one stage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFacts {
    /// `m_k`: updates between the forward and the backward pass of a batch, in steady state.
    pub staleness: usize,
    /// `c_k`: batches in the queue of activations up to the next stage.
    pub forward_queue: usize,
    /// `b_k`: batches in the queue of gradients from the next stage.
    pub backward_queue: usize,
    /// Activations between this stage and the next when both are cut at one version:
    /// `m_k − m_{k+1}` (DESIGN §2, fact 4). They wait in the queue, in the sender's hand, or at
    /// the receiver.
    pub in_flight: usize,
    /// Batches of which the stage holds the input, or the graph, at the same time: `m_k` between
    /// two steps, one more during a step. See [`most_kept`].
    pub kept_batches: usize,
    /// What it holds of each: the input, or the graph.
    pub kept: Kept,
    /// Versions of the parameters it holds.
    pub weight_copies: usize,
    /// Work per batch, in forward passes of this stage. See [`step_cost`].
    pub step_cost: u32,
}

impl Facts {
    /// Derives the facts of a schedule.
    pub fn of(schedule: &Schedule) -> Self {
        let policies = schedule.policies();
        let stages: Vec<StageFacts> = policies
            .iter()
            .enumerate()
            .map(|(stage, policy)| StageFacts {
                staleness: policy.staleness,
                forward_queue: policy.forward_queue,
                backward_queue: policy.backward_queue,
                in_flight: policy.in_flight,
                kept_batches: kept_batches(schedule, stage),
                kept: policy.kept,
                weight_copies: match policy.backward_weights {
                    BackwardWeights::Current => 1,
                    BackwardWeights::Stashed => policy.staleness + 1,
                    BackwardWeights::Corrected => 2,
                },
                step_cost: step_cost(policy),
            })
            .collect();
        Facts {
            locks: Locks::of(&policies),
            extra_compute: speed::extra_compute(&policies),
            ideal_speedup: ideal_speedup(schedule),
            stages,
        }
    }

    /// Whether there are at least two stages and all locks between them are removed: every queue
    /// has room for a batch, so all stages can work side by side.
    pub fn is_lock_free(&self) -> bool {
        self.locks.all() == [&Lock::Removed; 3]
    }
}

/// The program itself is asked, over a run that is long enough to reach the steady state.
fn kept_batches(schedule: &Schedule, stage: usize) -> usize {
    let steady = schedule.policy(stage).staleness + 2;
    most_kept(schedule.program(stage, &Horizon::of(2 * steady)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(notation: &str) -> Facts {
        Facts::of(&Schedule::parse(notation, Some(3)).unwrap())
    }

    #[test]
    fn a_stage_holds_m_inputs_and_the_one_at_work() {
        let kept: Vec<_> = facts("dsp(1,1,0;4,2,0)")
            .stages
            .iter()
            .map(|stage| {
                (
                    stage.kept_batches,
                    stage.kept,
                    stage.weight_copies,
                    stage.in_flight,
                )
            })
            .collect();
        assert_eq!(
            kept,
            [
                (5, Kept::Input, 1, 2),
                (3, Kept::Input, 1, 2),
                (1, Kept::Graph, 1, 0)
            ]
        );
    }

    #[test]
    fn backpropagation_holds_one_graph_per_stage() {
        assert!(
            facts("bp")
                .stages
                .iter()
                .all(|stage| stage.kept_batches == 1
                    && stage.kept == Kept::Graph
                    && stage.weight_copies == 1
                    && stage.in_flight == 0)
        );
    }
}
