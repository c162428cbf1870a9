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
    let (mut kept, mut most) = (0_usize, 0);
    for action in program {
        match action {
            Action::Forward { .. } => kept += 1,
            Action::Backward { .. } => kept = kept.saturating_sub(1),
            Action::Recompute { .. }
            | Action::Learn { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => {}
        }
        most = most.max(kept);
    }
    most
}
