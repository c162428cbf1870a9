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
    /// The horizon of a run of `batches` batches with these pauses.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_come_at_their_versions_and_last_as_long_as_each_place_takes() {
        let pauses = Pauses {
            evaluate_every: 3,
            evaluation: vec![0.5, 0.25],
            snapshot_every: 0,
            snapshot: 0.001,
        };
        let horizon = pauses.horizon(9);
        assert_eq!((horizon.batches, horizon.evaluate_at), (9, vec![3, 6, 9]));
        assert!(horizon.snapshot_at.is_empty());
        let evaluate = Action::Evaluate { version: 3 };
        assert_eq!(pauses.action(1, evaluate), Some(250_000_000));
        assert_eq!(pauses.action(2, evaluate), Some(0));
        let snapshot = Action::Snapshot { version: 3 };
        assert_eq!(pauses.action(0, snapshot), Some(1_000_000));
        assert_eq!(pauses.action(0, Action::Update { version: 3 }), None);
    }
}
