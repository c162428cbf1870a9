//! The program of a stage whose forward passes run ahead of its backward passes (docs/algorithm.md,
//! "A schedule is a program per stage").

use std::collections::BTreeSet;

use crate::action::Unit;
use crate::{Action, GradientSource, Horizon, Kept, Program, StagePolicy};

/// How far ahead the forward passes of a stage run, and when it updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// Micro-batches by which forward passes are ahead of backward passes.
    pub(crate) delay: usize,
    /// Micro-batches per batch, at least 1.
    pub(crate) micro_batches: usize,
    /// In this many first batches the stage runs ahead within a batch only.
    pub(crate) synchronous_batches: usize,
}

/// Forward of the micro-batch `u + delay`, then recompute and backward of micro-batch `u`, for
/// every `u`, counted over all batches; and an update after the last micro-batch of a batch.
///
/// One rule covers warm-up, steady state and drain: *before a stage pulls micro-batch `u` back, it
/// has forwarded every one up to `u + delay`, as far as there are any, and, while it is
/// synchronous, as far as they belong to the same batch*. At `u = 0` that makes `delay + 1`
/// forwards (the warm-up), then one per backward, and at the end none. Without delay this is
/// backpropagation.
///
/// With synthetic gradients, the stage learns, after every update, from all gradients of the batch
/// before; and at the very end from those that are left.
///
/// With split backward passes, the gradients of weights follow those of inputs, so many micro-batches
/// behind, and all of a batch come before its update.
#[derive(Debug)]
pub(crate) struct StaleProgram {
    rhythm: Rhythm,
    kept: Kept,
    gradient: GradientSource,
    split: Option<usize>,
    batches: usize,
    /// The version to end at, with what is in flight; later than any when there is none.
    halt_at: usize,
    evaluate_at: BTreeSet<usize>,
    snapshot_at: BTreeSet<usize>,
    drain_at: BTreeSet<usize>,
    /// The number of micro-batches forwarded so far.
    forwarded: usize,
    /// The number of micro-batches learned from so far.
    learned: usize,
    /// The number of second halves of backward passes so far.
    completed: usize,
    /// The number of updates so far, which is also the batch to pull back next.
    version: usize,
    /// The micro-batch of that batch to pull back next.
    micro: usize,
    /// The part of the work at `version` that comes next.
    part: Part,
}

/// The parts of a stage's work at one version, in order; those from `Forward` to
/// `WeightGradients` come once per micro-batch.
#[derive(Debug, PartialEq)]
enum Part {
    Learn,
    /// Before the evaluation: what has been trained is kept before anything else can fail.
    Snapshot,
    Evaluate,
    Forward,
    Recompute,
    Backward,
    WeightGradients,
    Update,
}

impl StaleProgram {
    /// The program of a stage with this rhythm, which keeps, pulls back and splits as the policy says.
    pub(crate) fn new(rhythm: Rhythm, policy: &StagePolicy, horizon: &Horizon) -> Self {
        StaleProgram {
            rhythm: Rhythm {
                micro_batches: rhythm.micro_batches.max(1),
                ..rhythm
            },
            kept: policy.kept,
            gradient: policy.gradient,
            split: policy.split,
            batches: horizon.batches,
            halt_at: usize::MAX,
            evaluate_at: horizon.evaluate_at.iter().copied().collect(),
            snapshot_at: horizon.snapshot_at.iter().copied().collect(),
            drain_at: horizon.drain_at.iter().copied().collect(),
            forwarded: 0,
            learned: 0,
            completed: 0,
            version: 0,
            micro: 0,
            part: Part::Learn,
        }
    }

    /// The micro-batch of this number, counted over all batches.
    fn unit(&self, number: usize) -> Unit {
        Unit {
            batch: number / self.rhythm.micro_batches,
            micro: number % self.rhythm.micro_batches,
        }
    }

    /// The micro-batch to forward before the next one is pulled back, if there is one.
    fn next_forward(&self) -> Option<Unit> {
        let Rhythm {
            delay,
            micro_batches,
            synchronous_batches,
        } = self.rhythm;
        let next = self.unit(self.forwarded);
        let ahead =
            self.forwarded - (self.version * micro_batches + self.micro).min(self.forwarded);
        let allowed =
            ahead <= delay && (self.version >= synchronous_batches || next.batch == self.version);
        (allowed && next.batch < self.end_of_stretch()).then_some(next)
    }

    /// The batch before which the stage stops running ahead: the next one at which the pipeline runs empty, or the end.
    fn end_of_stretch(&self) -> usize {
        let drain = self.drain_at.range(self.version + 1..).next();
        drain.map_or(self.batches, |&drain| drain.min(self.batches))
    }

    /// The next micro-batch to learn from, of those in the batches below `batches`.
    fn next_to_learn(&self, batches: usize) -> Option<Unit> {
        let next = self.unit(self.learned);
        (self.gradient == GradientSource::Synthetic && next.batch < batches).then_some(next)
    }

    /// The micro-batch to complete before the stage goes on, if there is one.
    fn next_to_complete(&self) -> Option<Unit> {
        let pulled_back = self.version * self.rhythm.micro_batches + self.micro;
        let behind = match self.micro < self.rhythm.micro_batches {
            true => self.split?,
            // The update waits for all of the batch.
            false => self.split.map(|_| 0)?,
        };
        (self.completed.saturating_add(behind) < pulled_back).then(|| self.unit(self.completed))
    }
}

impl Iterator for StaleProgram {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        loop {
            let version = self.version;
            let (batch, micro) = (version, self.micro);
            match self.part {
                Part::Learn => {
                    if let Some(Unit { batch, micro }) = self.next_to_learn(version.max(1) - 1) {
                        self.learned += 1;
                        return Some(Action::Learn { batch, micro });
                    }
                    self.part = Part::Snapshot;
                }
                Part::Snapshot => {
                    self.part = Part::Evaluate;
                    if self.snapshot_at.contains(&version) {
                        return Some(Action::Snapshot { version });
                    }
                }
                Part::Evaluate => {
                    self.part = Part::Forward;
                    if self.evaluate_at.contains(&version) {
                        return Some(Action::Evaluate { version });
                    }
                }
                Part::Forward => {
                    if version >= self.halt_at {
                        return None;
                    }
                    if let Some(Unit { batch, micro }) = self.next_forward() {
                        self.forwarded += 1;
                        return Some(Action::Forward { batch, micro });
                    }
                    if version >= self.batches {
                        let Unit { batch, micro } = self.next_to_learn(version)?;
                        self.learned += 1;
                        return Some(Action::Learn { batch, micro });
                    }
                    self.part = match self.kept {
                        Kept::Input => Part::Recompute,
                        Kept::Graph => Part::Backward,
                    };
                }
                Part::Recompute => {
                    self.part = Part::Backward;
                    return Some(Action::Recompute { batch, micro });
                }
                Part::Backward => {
                    self.micro += 1;
                    self.part = Part::WeightGradients;
                    return Some(Action::Backward { batch, micro });
                }
                Part::WeightGradients => {
                    if let Some(Unit { batch, micro }) = self.next_to_complete() {
                        self.completed += 1;
                        return Some(Action::WeightGradients { batch, micro });
                    }
                    self.part = if self.micro < self.rhythm.micro_batches {
                        Part::Forward
                    } else {
                        self.micro = 0;
                        Part::Update
                    };
                }
                Part::Update => {
                    self.part = Part::Learn;
                    self.version += 1;
                    return Some(Action::Update { version });
                }
            }
        }
    }
}

impl Program for StaleProgram {
    fn snapshot_at(&mut self, version: usize) {
        self.snapshot_at.insert(version);
    }

    fn halt_at(&mut self, version: usize) {
        self.halt_at = self.halt_at.min(version);
        self.snapshot_at.insert(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(delay: usize, horizon: &Horizon) -> StaleProgram {
        let policy = StagePolicy::of_delay(delay, None, 1);
        let rhythm = Rhythm {
            delay,
            micro_batches: 1,
            synchronous_batches: 0,
        };
        StaleProgram::new(rhythm, &policy, horizon)
    }

    fn graphs(delay: usize, micro_batches: usize, synchronous_batches: usize) -> StaleProgram {
        let rhythm = Rhythm {
            delay,
            micro_batches,
            synchronous_batches,
        };
        StaleProgram::new(rhythm, &StagePolicy::of_flush(1, true), &Horizon::of(3))
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
    fn snapshots_and_evaluations_stand_before_the_training_actions_of_their_version() {
        let horizon = Horizon {
            batches: 2,
            evaluate_at: vec![0, 1, 2],
            snapshot_at: vec![0, 2, 9],
            ..Horizon::default()
        };
        assert_eq!(
            text(program(1, &horizon)),
            "S0 E0 F0 F1 R0 B0 U0 E1 R1 B1 U1 S2 E2"
        );
    }

    #[test]
    fn a_halt_leaves_in_flight_what_is_in_flight() {
        let mut halted = program(
            1,
            &Horizon {
                batches: 9,
                evaluate_at: vec![3],
                snapshot_at: vec![],
                ..Horizon::default()
            },
        );
        let before: Vec<_> = halted.by_ref().take(6).collect();
        assert_eq!(text(before.into_iter()), "F0 F1 R0 B0 U0 F2");
        halted.halt_at(3);
        assert_eq!(text(halted), "R1 B1 U1 F3 R2 B2 U2 S3 E3");
    }

    #[test]
    fn a_halt_at_the_end_or_later_only_adds_its_snapshot() {
        for (version, expected) in [(1, "F0 B0 U0 S1"), (2, "F0 B0 U0 F1 B1 U1 S2")] {
            let mut halted = program(0, &Horizon::of(2));
            halted.halt_at(version);
            assert_eq!(text(halted), expected);
        }
        let mut late = program(1, &Horizon::of(2));
        late.halt_at(3);
        assert_eq!(text(late), text(program(1, &Horizon::of(2))));
    }

    #[test]
    fn a_stage_goes_on_from_a_snapshot() {
        let mut resumed = program(2, &Horizon::of(5));
        assert_eq!(resumed.skip_to(2), 2);
        assert_eq!(text(resumed), "F4 R2 B2 U2 R3 B3 U3 R4 B4 U4");
        let mut from_the_start = program(2, &Horizon::of(2));
        assert_eq!(from_the_start.skip_to(0), 0);
        assert_eq!(text(from_the_start), "F0 F1 R0 B0 U0 R1 B1 U1");
    }

    /// A run of 2 batches that went on to 4.
    #[test]
    fn a_drained_pipeline_fills_again() {
        let longer = Horizon {
            drain_at: vec![2],
            ..Horizon::of(4)
        };
        assert_eq!(
            text(program(2, &longer)),
            "F0 F1 R0 B0 U0 R1 B1 U1 F2 F3 R2 B2 U2 R3 B3 U3"
        );
        let mut resumed = program(2, &longer);
        assert_eq!(resumed.skip_to(2), 0);
        assert_eq!(text(resumed), "F2 F3 R2 B2 U2 R3 B3 U3");
        assert_eq!(text(program(0, &longer)), text(program(0, &Horizon::of(4))));
    }

    #[test]
    fn the_update_comes_after_the_last_micro_batch_of_a_batch() {
        assert_eq!(
            text(graphs(1, 2, 0)),
            "F0 F0.1 B0 F1 B0.1 U0 F1.1 B1 F2 B1.1 U1 F2.1 B2 B2.1 U2"
        );
        assert_eq!(
            text(graphs(0, 2, 0)),
            "F0 B0 F0.1 B0.1 U0 F1 B1 F1.1 B1.1 U1 F2 B2 F2.1 B2.1 U2"
        );
    }

    #[test]
    fn a_synchronous_stage_stays_within_the_batch() {
        assert_eq!(
            text(graphs(2, 3, usize::MAX).take(14)),
            "F0 F0.1 F0.2 B0 B0.1 B0.2 U0 F1 F1.1 F1.2 B1 B1.1 B1.2 U1"
        );
        assert_eq!(
            text(graphs(1, 3, usize::MAX).take(7)),
            "F0 F0.1 B0 F0.2 B0.1 B0.2 U0"
        );
    }

    #[test]
    fn after_the_synchronous_batches_it_runs_ahead() {
        assert_eq!(text(graphs(1, 1, 1)), "F0 B0 U0 F1 F2 B1 U1 B2 U2");
    }

    #[test]
    fn second_halves_follow_so_many_micro_batches_behind_and_all_before_the_update() {
        let split = |behind| {
            let rhythm = Rhythm {
                delay: 1,
                micro_batches: 3,
                synchronous_batches: usize::MAX,
            };
            let policy = StagePolicy {
                split: Some(behind),
                ..StagePolicy::of_flush(1, true)
            };
            text(StaleProgram::new(rhythm, &policy, &Horizon::of(1)))
        };
        assert_eq!(split(0), "F0 F0.1 B0 W0 F0.2 B0.1 W0.1 B0.2 W0.2 U0");
        assert_eq!(split(1), "F0 F0.1 B0 F0.2 B0.1 W0 B0.2 W0.1 W0.2 U0");
        let late = "F0 F0.1 B0 F0.2 B0.1 B0.2 W0 W0.1 W0.2 U0";
        assert_eq!(split(2), late);
        assert_eq!(split(usize::MAX), late);
    }

    #[test]
    fn synthesizers_learn_from_the_batch_before_and_at_the_end_from_the_rest() {
        let rhythm = Rhythm {
            delay: 0,
            micro_batches: 1,
            synchronous_batches: 0,
        };
        let horizon = Horizon {
            batches: 3,
            evaluate_at: vec![2],
            snapshot_at: vec![3],
            ..Horizon::default()
        };
        let policy = StagePolicy {
            gradient: GradientSource::Synthetic,
            ..StagePolicy::of_delay(0, None, 1)
        };
        let learns = StaleProgram::new(rhythm, &policy, &horizon);
        assert_eq!(text(learns), "F0 B0 U0 F1 B1 U1 L0 E2 F2 B2 U2 L1 S3 L2");
    }
}
