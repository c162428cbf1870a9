//! Facts that are counted in a program instead of read off a policy.

use std::collections::BTreeMap;

use crate::Action;

/// For every micro-batch, in the order of their backward passes: the updates between its forward
/// and its backward pass.
///
/// For DSP that is `min(m_k, j)` for batch `j`: the first `m_k` batches are forwarded in the
/// warm-up, at version 0, so batch `j < m_k` sees only the `j` updates that there were.
///
/// ```
/// use stagger_schedule::{Horizon, Schedule, measured_staleness};
///
/// let schedule = Schedule::parse("dsp(1,0;2,0)", None)?;
/// assert_eq!(measured_staleness(schedule.program(0, &Horizon::of(5))), [0, 1, 2, 2, 2]);
/// # Ok::<(), stagger_schedule::NotationError>(())
/// ```
pub fn measured_staleness(program: impl Iterator<Item = Action>) -> Vec<usize> {
    let mut forwarded_at = BTreeMap::new();
    let mut updates = 0;
    let mut staleness = Vec::new();
    for action in program {
        match action {
            Action::Forward { batch, micro } => {
                forwarded_at.insert((batch, micro), updates);
            }
            Action::Backward { batch, micro } => {
                let forwarded = forwarded_at.remove(&(batch, micro));
                staleness.extend(forwarded.map(|version| updates - version));
            }
            Action::Update { .. } => updates += 1,
            Action::Recompute { .. }
            | Action::WeightGradients { .. }
            | Action::Learn { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => {}
        }
    }
    staleness
}

/// The largest number of micro-batches that are forwarded and not yet pulled back: those of which the
/// stage holds the input or the graph.
///
/// For DSP that is `m_k + 1` (for a run long enough): while batch `n` is at work, the inputs of
/// batches `n` to `n + m_k` are held.
pub fn most_kept(program: impl Iterator<Item = Action>) -> usize {
    let mut held = Held::default();
    program.fold(0, |most, action| {
        held.pass(action);
        most.max(held.kept)
    })
}

/// The largest number of micro-batches that have run the first half of a split backward pass and not the second, with the one at
/// work: those of which the stage holds inputs and output gradients of its convolutions and linear layers. 0 where passes are
/// whole.
pub fn most_pending(program: impl Iterator<Item = Action>) -> usize {
    let mut held = Held::default();
    program.fold(0, |most, action| {
        // Only what waits for a second half counts.
        let pending = held.pending;
        held.pass(action);
        match action {
            Action::WeightGradients { .. } => most.max(pending),
            _ => most,
        }
    })
}

/// The largest number of micro-batches of which a stage holds the input or the graph, as [`most_kept`], or the pending half, as
/// [`most_pending`], at the same time. `splits` says whether its backward passes are split.
pub fn most_held(program: impl Iterator<Item = Action>, splits: bool) -> usize {
    let mut held = Held::default();
    program.fold(0, |most, action| {
        held.pass(action);
        let pending = if splits { held.pending } else { 0 };
        most.max(held.kept + pending)
    })
}

/// Micro-batches between two halves of their way.
#[derive(Default)]
struct Held {
    kept: usize,
    pending: usize,
}

impl Held {
    fn pass(&mut self, action: Action) {
        match action {
            Action::Forward { .. } => self.kept += 1,
            Action::Backward { .. } => {
                self.kept = self.kept.saturating_sub(1);
                self.pending += 1;
            }
            Action::WeightGradients { .. } => self.pending = self.pending.saturating_sub(1),
            Action::Recompute { .. }
            | Action::Learn { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => {}
        }
    }
}
