//! What a simulated run does beside training.

use stagger_schedule::{Action, Horizon};

/// Evaluations and snapshots, and what each place takes for one. Each place makes its own as soon as its weights have come to the
/// version, and waits for no other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pauses {
    /// Versions from one evaluation to the next; 0 for none.
    pub evaluate_every: usize,
    /// What each place takes for an evaluation, in seconds. None for those that are not listed.
    pub evaluation: Vec<f64>,
    /// Versions from one snapshot to the next; 0 for none.
    pub snapshot_every: usize,
    /// What each place takes for a snapshot, in seconds.
    pub snapshot: f64,
}

impl Pauses {
    /// A run of so many batches with them.
    pub(super) fn horizon(&self, batches: usize) -> Horizon {
        let every = |versions: usize| match versions {
            0 => Vec::new(),
            versions => (versions..=batches).step_by(versions).collect(),
        };
        Horizon {
            evaluate_at: every(self.evaluate_every),
            snapshot_at: every(self.snapshot_every),
            ..Horizon::of(batches)
        }
    }

    /// What a place takes for such an action, in nanoseconds; `None` for one of training.
    pub(super) fn action(&self, place: usize, action: Action) -> Option<u64> {
        let seconds = match action {
            Action::Evaluate { .. } => self.evaluation.get(place).copied().unwrap_or_default(),
            Action::Snapshot { .. } => self.snapshot,
            _ => return None,
        };
        Some((seconds * 1e9).round() as u64)
    }
}
