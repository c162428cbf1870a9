//! What a schedule removes and what it costs, derived from its policies and programs.

mod locks;
mod measure;
mod speed;

pub use locks::{Lock, Locks};
pub use measure::{measured_staleness, most_held, most_kept, most_pending};
pub use speed::{ideal_speedup, step_cost};

use crate::{
    BackwardWeights, ForwardWeights, GradientSource, Horizon, Kept, Program, Schedule, StagePolicy,
};

/// What a schedule removes and what it costs.
///
/// Per layer, a forward pass costs 1, a backward pass 2 and a recompute 1; updates and transfers are
/// free.
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
    /// The share of the time that every stage waits at that speed: 0 where all are always busy.
    pub bubble: f64,
    /// M: micro-batches per batch, that is per update.
    pub micro_batches: usize,
    /// Whether the pipeline is flushed after every batch.
    pub flushes: bool,
}

/// What one stage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageFacts {
    /// `m_k`: updates between the forward and the backward pass of a batch, in steady state.
    pub staleness: usize,
    /// `c_k`: micro-batches in the queue of activations up to the next stage.
    pub forward_queue: usize,
    /// `b_k`: micro-batches in the queue of gradients from the next stage.
    pub backward_queue: usize,
    /// Activations between this stage and the next when both are cut at one version, in
    /// micro-batches; `m_k − m_{k+1}` for DSP (docs/algorithm.md, "Facts" 4). They wait in the
    /// queue, at a sender that waits for room, or at the receiver.
    pub in_flight: usize,
    /// Micro-batches of which the stage holds the input, or the graph, at the same time; for DSP
    /// `m_k` between two steps, one more during a step. See [`most_kept`].
    pub kept_micro_batches: usize,
    /// What it holds of each: the input, or the graph.
    pub kept: Kept,
    /// Micro-batches of which the stage holds the pending half of a split backward pass at the same
    /// time. See [`most_pending`].
    pub pending_micro_batches: usize,
    /// Micro-batches of which it holds the input, the graph or a pending half at the same time.
    pub held_micro_batches: usize,
    /// Which parameters the forward pass uses.
    pub forward_weights: ForwardWeights,
    /// Which parameters the backward pass uses.
    pub backward_weights: BackwardWeights,
    /// Where the backward pass takes its gradient from.
    pub gradient: GradientSource,
    /// Copies of the parameters it holds at the most: versions, predicted parameters while they are
    /// in use, and PipeMare's running mean of updates.
    pub weight_copies: usize,
    /// Work per micro-batch, in forward passes of this stage. See [`step_cost`].
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
                kept_micro_batches: counted(schedule, stage, most_kept),
                kept: policy.kept,
                pending_micro_batches: counted(schedule, stage, most_pending),
                held_micro_batches: counted(schedule, stage, |program| {
                    most_held(program, policy.split.is_some())
                }),
                forward_weights: policy.forward_weights,
                backward_weights: policy.backward_weights,
                gradient: policy.gradient,
                weight_copies: weight_copies(policy, schedule.corrections().damping.is_some()),
                step_cost: step_cost(policy),
            })
            .collect();
        let ideal_speedup = ideal_speedup(schedule);
        Facts {
            locks: Locks::of(&policies),
            extra_compute: speed::extra_compute(&policies),
            bubble: 1.0 - ideal_speedup / speed::all_busy(&policies),
            ideal_speedup,
            stages,
            micro_batches: schedule.micro_batches(),
            flushes: schedule.synchronous_batches() == usize::MAX,
        }
    }

    /// Whether there are at least two stages and all locks between them are removed: every queue
    /// has room for a batch, so all stages can work side by side.
    pub fn is_lock_free(&self) -> bool {
        self.locks.all() == [&Lock::Removed; 3]
    }
}

/// Counted in the program, over a run that is long enough to reach the steady state.
fn counted(
    schedule: &Schedule,
    stage: usize,
    count: impl FnOnce(Box<dyn Program>) -> usize,
) -> usize {
    let steady = schedule.policy(stage).staleness + 2;
    count(schedule.steady_program(stage, &Horizon::of(2 * steady)))
}

fn weight_copies(policy: &StagePolicy, damped: bool) -> usize {
    let versions = match policy.backward_weights {
        // Damping measures the gap from the weights of every forward, so these have to be kept.
        BackwardWeights::Current if damped => policy.staleness + 1,
        BackwardWeights::Current => 1,
        BackwardWeights::Stashed => policy.staleness + 1,
        BackwardWeights::Corrected => 2,
    };
    let predicted = policy.forward_weights == ForwardWeights::Predicted;
    versions + usize::from(predicted)
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
                    stage.kept_micro_batches,
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
                .all(|stage| stage.kept_micro_batches == 1
                    && stage.kept == Kept::Graph
                    && stage.weight_copies == 1
                    && stage.in_flight == 0)
        );
    }

    /// What stage 0 of three holds: micro-batches, of which kind, and copies of weights.
    fn held(notation: &str) -> (usize, Kept, usize) {
        let stage = facts(notation).stages.swap_remove(0);
        (stage.kept_micro_batches, stage.kept, stage.weight_copies)
    }

    #[test]
    fn flushing_methods_hold_the_graphs_of_a_batch_or_of_the_stages_above() {
        assert_eq!(held("gpipe(8)"), (8, Kept::Graph, 1));
        assert_eq!(held("1f1b(8)"), (3, Kept::Graph, 1));
        assert_eq!(held("1f1b(2)"), (2, Kept::Graph, 1));
    }

    /// Of three stages: graphs, pending halves, and both together.
    #[test]
    fn zero_bubble_holds_no_more_anywhere_than_its_lowest_stage() {
        let held = |notation: &str| -> Vec<_> {
            let stages = facts(notation).stages.into_iter();
            let of = |stage: StageFacts| {
                let StageFacts {
                    kept_micro_batches,
                    pending_micro_batches,
                    held_micro_batches,
                    ..
                } = stage;
                (
                    kept_micro_batches,
                    pending_micro_batches,
                    held_micro_batches,
                )
            };
            stages.map(of).collect()
        };
        assert_eq!(held("zb(8)"), [(3, 1, 3), (2, 2, 3), (1, 3, 3)]);
        assert_eq!(held("zb(2)"), [(2, 1, 2), (2, 2, 2), (1, 2, 2)]);
        assert_eq!(held("1f1b(8)"), [(3, 0, 3), (2, 0, 2), (1, 0, 1)]);
    }

    #[test]
    fn stale_methods_hold_what_they_forwarded_since() {
        assert_eq!(held("pipedream"), (3, Kept::Graph, 3));
        assert_eq!(held("fdg"), (5, Kept::Graph, 5));
        assert_eq!(held("adl(4)"), (5, Kept::Graph, 2));
        assert_eq!(held("adl(3)"), (5, Kept::Graph, 3));
        assert_eq!(held("2bw(4)"), (3, Kept::Graph, 2));
        assert_eq!(held("fr"), (3, Kept::Input, 1));
        assert_eq!(held("pipemare(sync=5)"), (3, Kept::Input, 2));
        assert_eq!(held("pipemare(decay=0)"), (3, Kept::Input, 1));
        assert_eq!(held("dni"), (1, Kept::Graph, 1));
        assert_eq!(held("dsp + accumulate(2)"), (5, Kept::Input, 1));
        assert_eq!(held("dsp + predict"), (5, Kept::Input, 2));
    }

    #[test]
    fn the_bubble_of_a_flush_is_that_of_the_formula() {
        for notation in ["gpipe(4)", "1f1b(4)"] {
            let facts = facts(notation);
            assert!((facts.bubble - 2.0 / 6.0).abs() < 0.005, "{}", facts.bubble);
            assert!(facts.flushes);
        }
        assert!((facts("bp").bubble - 2.0 / 3.0).abs() < 0.005);
        assert!(facts("pipedream").bubble.abs() < 0.01);
    }
}
