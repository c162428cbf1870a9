//! The program of a stage that works with stale parameters (DESIGN §2).

use std::collections::BTreeSet;

use crate::{Action, Horizon, Kept, Program, StagePolicy};

/// Forward of batch `n + m`, then recompute, backward and update for batch `n`; for every `n`.
///
/// One rule covers warm-up, steady state and drain: *before a stage pulls batch `n` back, it has
/// forwarded every batch up to `n + m`, as far as there are any*. At `n = 0` that makes `m + 1`
/// forwards (the warm-up), then one per batch, and at the end none. With `m = 0` this is
/// backpropagation.
#[derive(Debug)]
pub(crate) struct StaleProgram {
    staleness: usize,
    kept: Kept,
    batches: usize,
    evaluate_at: BTreeSet<usize>,
    snapshot_at: BTreeSet<usize>,
    /// The number of batches forwarded so far.
    forwarded: usize,
    /// The number of updates so far, which is also the batch to pull back next.
    version: usize,
    /// The part of the work at `version` that comes next.
    part: Part,
}

/// The parts of a stage's work at one version, in order.
#[derive(Debug, PartialEq)]
enum Part {
    Evaluate,
    Snapshot,
    Forward,
    Recompute,
    Backward,
    Update,
}

impl StaleProgram {
    /// The program of a stage with the staleness and the kept state of `policy`.
    pub(crate) fn new(policy: StagePolicy, horizon: &Horizon) -> Self {
        StaleProgram {
            staleness: policy.staleness,
            kept: policy.kept,
            batches: horizon.batches,
            evaluate_at: horizon.evaluate_at.iter().copied().collect(),
            snapshot_at: horizon.snapshot_at.iter().copied().collect(),
            forwarded: 0,
            version: 0,
            part: Part::Evaluate,
        }
    }
}

impl Iterator for StaleProgram {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        loop {
            let version = self.version;
            let batch = version;
            match self.part {
                Part::Evaluate => {
                    self.part = Part::Snapshot;
                    if self.evaluate_at.contains(&version) {
                        return Some(Action::Evaluate { version });
                    }
                }
                Part::Snapshot => {
                    self.part = Part::Forward;
                    if self.snapshot_at.contains(&version) {
                        return Some(Action::Snapshot { version });
                    }
                }
                Part::Forward => {
                    let next = self.forwarded;
                    if next < self.batches && next <= batch + self.staleness {
                        self.forwarded += 1;
                        return Some(Action::Forward { batch: next });
                    }
                    if version >= self.batches {
                        return None;
                    }
                    self.part = match self.kept {
                        Kept::Input => Part::Recompute,
                        Kept::Graph => Part::Backward,
                    };
                }
                Part::Recompute => {
                    self.part = Part::Backward;
                    return Some(Action::Recompute { batch });
                }
                Part::Backward => {
                    self.part = Part::Update;
                    return Some(Action::Backward { batch });
                }
                Part::Update => {
                    self.part = Part::Evaluate;
                    self.version += 1;
                    return Some(Action::Update { version });
                }
            }
        }
    }
}

impl Program for StaleProgram {
    fn end_at(&mut self, batches: usize) {
        debug_assert!(
            self.forwarded <= batches.saturating_add(1),
            "cannot end at batch {batches}: {} batches are already forwarded",
            self.forwarded
        );
        if batches > self.batches {
            return;
        }
        self.batches = batches;
        let added = self.snapshot_at.insert(batches);
        // A stage that runs nothing ahead (m = 0) learns of the end when it asks for the first
        // batch that is not there: the snapshot, had it been listed, would be behind it.
        if added && self.version == batches && self.part == Part::Forward {
            self.part = Part::Snapshot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackwardWeights;

    fn program(staleness: usize, horizon: &Horizon) -> StaleProgram {
        let kept = if staleness == 0 {
            Kept::Graph
        } else {
            Kept::Input
        };
        let policy = StagePolicy {
            staleness,
            forward_queue: 0,
            backward_queue: 0,
            backward_weights: BackwardWeights::Current,
            kept,
        };
        StaleProgram::new(policy, horizon)
    }

    fn text(program: impl Iterator<Item = Action>) -> String {
        program
            .map(|action| action.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn warm_up_steady_state_and_drain() {
        assert_eq!(
            text(program(2, &Horizon::of(4))),
            "F0 F1 F2 R0 B0 U0 F3 R1 B1 U1 R2 B2 U2 R3 B3 U3"
        );
    }

    #[test]
    fn without_staleness_it_is_backpropagation() {
        assert_eq!(text(program(0, &Horizon::of(2))), "F0 B0 U0 F1 B1 U1");
    }

    #[test]
    fn a_run_shorter_than_the_warm_up_forwards_what_there_is() {
        assert_eq!(text(program(4, &Horizon::of(2))), "F0 F1 R0 B0 U0 R1 B1 U1");
        assert_eq!(text(program(4, &Horizon::of(0))), "");
    }

    #[test]
    fn evaluations_and_snapshots_stand_before_the_training_actions_of_their_version() {
        let horizon = Horizon {
            batches: 2,
            evaluate_at: vec![0, 1, 2],
            snapshot_at: vec![0, 2, 9],
        };
        assert_eq!(
            text(program(1, &horizon)),
            "E0 S0 F0 F1 R0 B0 U0 E1 R1 B1 U1 E2 S2"
        );
    }

    #[test]
    fn the_end_comes_when_the_forward_of_a_missing_batch_is_dropped() {
        let mut early = program(
            1,
            &Horizon {
                batches: 9,
                evaluate_at: vec![9],
                snapshot_at: vec![],
            },
        );
        let before: Vec<_> = early.by_ref().take(6).collect();
        assert_eq!(text(before.into_iter()), "F0 F1 R0 B0 U0 F2");
        early.end_at(2);
        assert_eq!(text(early), "R1 B1 U1 S2");
    }

    #[test]
    fn a_stage_without_staleness_still_takes_its_last_snapshot_and_only_once() {
        for (snapshot_at, before, after) in [
            (vec![], "F0 B0 U0 F1", "S1"),
            (vec![1], "F0 B0 U0 S1 F1", ""),
        ] {
            let mut early = program(
                0,
                &Horizon {
                    batches: 9,
                    evaluate_at: vec![],
                    snapshot_at,
                },
            );
            let count = before.split(' ').count();
            assert_eq!(text(early.by_ref().take(count)), before);
            early.end_at(1);
            assert_eq!(text(early), after);
        }
    }

    #[test]
    fn a_later_end_changes_nothing() {
        let mut same = program(1, &Horizon::of(2));
        same.end_at(3);
        assert_eq!(text(same), text(program(1, &Horizon::of(2))));
    }
}
