//! What holds for every method, and how methods relate to each other.

use crate::drawn;
use proptest::prelude::*;
use stagger_schedule::{
    Action, BackwardWeights, ForwardWeights, GradientSource, Horizon, Kept, Schedule, StagePolicy,
    measured_staleness,
};

fn schedule(notation: &str, stages: usize) -> Schedule {
    Schedule::parse(notation, Some(stages)).unwrap()
}

fn lines(notation: &str, stages: usize, batches: usize) -> Vec<String> {
    drawn::programs(&schedule(notation, stages), &Horizon::of(batches))
        .iter()
        .map(|program| {
            let words: Vec<_> = program.iter().map(Action::to_string).collect();
            words.join(" ")
        })
        .collect()
}

#[test]
#[rustfmt::skip]
fn programs_on_three_stages() {
    assert_eq!(lines("gpipe(3)", 3, 1), [
        "F0 F0.1 F0.2 B0 B0.1 B0.2 U0",
        "F0 F0.1 F0.2 B0 B0.1 B0.2 U0",
        "F0 F0.1 F0.2 B0 B0.1 B0.2 U0",
    ]);
    assert_eq!(lines("1f1b(4)", 3, 1), [
        "F0 F0.1 F0.2 B0 F0.3 B0.1 B0.2 B0.3 U0",
        "F0 F0.1 B0 F0.2 B0.1 F0.3 B0.2 B0.3 U0",
        "F0 B0 F0.1 B0.1 F0.2 B0.2 F0.3 B0.3 U0",
    ]);
    assert_eq!(lines("zb(4)", 3, 1), [
        "F0 F0.1 F0.2 B0 W0 F0.3 B0.1 W0.1 B0.2 W0.2 B0.3 W0.3 U0",
        "F0 F0.1 B0 F0.2 B0.1 W0 F0.3 B0.2 W0.1 B0.3 W0.2 W0.3 U0",
        "F0 B0 F0.1 B0.1 F0.2 B0.2 W0 F0.3 B0.3 W0.1 W0.2 W0.3 U0",
    ]);
    assert_eq!(lines("pipedream", 3, 3), [
        "F0 F1 F2 B0 U0 B1 U1 B2 U2",
        "F0 F1 B0 U0 F2 B1 U1 B2 U2",
        "F0 B0 U0 F1 B1 U1 F2 B2 U2",
    ]);
    assert_eq!(lines("2bw(3)", 3, 2), [
        "F0 F0.1 F0.2 B0 F1 B0.1 F1.1 B0.2 U0 F1.2 B1 B1.1 B1.2 U1",
        "F0 F0.1 B0 F0.2 B0.1 F1 B0.2 U0 F1.1 B1 F1.2 B1.1 B1.2 U1",
        "F0 B0 F0.1 B0.1 F0.2 B0.2 U0 F1 B1 F1.1 B1.1 F1.2 B1.2 U1",
    ]);
    assert_eq!(lines("pipemare(sync=1)", 3, 3), [
        "F0 R0 B0 U0 F1 F2 R1 B1 U1 R2 B2 U2",
        "F0 R0 B0 U0 F1 F2 R1 B1 U1 R2 B2 U2",
        "F0 B0 U0 F1 B1 U1 F2 B2 U2",
    ]);
    assert_eq!(lines("adl(2)", 3, 3), [
        "F0 F0.1 F1 F1.1 F2 B0 F2.1 B0.1 U0 B1 B1.1 U1 B2 B2.1 U2",
        "F0 F0.1 F1 B0 F1.1 B0.1 U0 F2 B1 F2.1 B1.1 U1 B2 B2.1 U2",
        "F0 B0 F0.1 B0.1 U0 F1 B1 F1.1 B1.1 U1 F2 B2 F2.1 B2.1 U2",
    ]);
    assert_eq!(lines("dsp(m=2,1,0) + accumulate(2)", 3, 2), [
        "F0 F0.1 F1 R0 B0 F1.1 R0.1 B0.1 U0 R1 B1 R1.1 B1.1 U1",
        "F0 F0.1 R0 B0 F1 R0.1 B0.1 U0 F1.1 R1 B1 R1.1 B1.1 U1",
        "F0 B0 F0.1 B0.1 U0 F1 B1 F1.1 B1.1 U1",
    ]);
    assert_eq!(lines("dni", 3, 3), [
        "F0 B0 U0 F1 B1 U1 L0 F2 B2 U2 L1 L2",
        "F0 B0 U0 F1 B1 U1 L0 F2 B2 U2 L1 L2",
        "F0 B0 U0 F1 B1 U1 F2 B2 U2",
    ]);
}

/// Staleness, what is in flight, and weights, of all stages from 0 up.
fn summary(notation: &str) -> Vec<(usize, usize, BackwardWeights, Kept)> {
    let of = |p: StagePolicy| (p.staleness, p.in_flight, p.backward_weights, p.kept);
    schedule(notation, 3)
        .policies()
        .into_iter()
        .map(of)
        .collect()
}

#[test]
#[rustfmt::skip]
fn policies_on_three_stages() {
    use BackwardWeights::{Corrected, Current, Stashed};
    use Kept::{Graph, Input};
    assert_eq!(summary("gpipe(4)"), [(0, 0, Current, Graph); 3]);
    assert_eq!(summary("1f1b(4)"), [(0, 0, Current, Graph); 3]);
    assert_eq!(summary("zb(4)"), [(0, 0, Current, Graph); 3]);
    assert_eq!(summary("ddg"), [(2, 1, Stashed, Graph), (1, 1, Stashed, Graph), (0, 0, Current, Graph)]);
    assert_eq!(summary("fr"), [(2, 1, Current, Input), (1, 1, Current, Input), (0, 0, Current, Graph)]);
    assert_eq!(summary("pipemare"), [(2, 1, Corrected, Input), (1, 1, Corrected, Input), (0, 0, Current, Graph)]);
    assert_eq!(summary("fdg"), [(4, 2, Stashed, Graph), (2, 2, Stashed, Graph), (0, 0, Current, Graph)]);
    assert_eq!(summary("adl(3)"), [(2, 2, Stashed, Graph), (1, 2, Stashed, Graph), (0, 0, Current, Graph)]);
    assert_eq!(summary("2bw(3)"), [(1, 1, Stashed, Graph), (1, 1, Stashed, Graph), (1, 0, Stashed, Graph)]);
    assert_eq!(summary("dni"), [(0, 0, Current, Graph); 3]);
    assert_eq!(summary("dsp + accumulate(3)"), [(2, 2, Current, Input), (1, 2, Current, Input), (0, 0, Current, Graph)]);
}

#[test]
fn prediction_is_for_the_stale_stages() {
    let weights: Vec<_> = schedule("dsp + predict", 3)
        .policies()
        .iter()
        .map(|policy| policy.forward_weights)
        .collect();
    use ForwardWeights::{Current, Predicted};
    assert_eq!(weights, [Predicted, Predicted, Current]);
}

#[test]
fn rescheduling_waits_for_the_synchronous_batches() {
    let corrections = schedule("pipemare(anneal=10, sync=5)", 3).corrections();
    let rescheduling = corrections.rescheduling.unwrap();
    assert_eq!(rescheduling.factor(1, 4), 1.0);
    assert_eq!(rescheduling.factor(1, 5), 0.5);
}

/// The same actions of all stages, and policies that differ in queue lengths alone.
fn assert_same_run(one: &str, other: &str, stages: usize) {
    let (one, other) = (schedule(one, stages), schedule(other, stages));
    let horizon = Horizon {
        batches: 12,
        evaluate_at: vec![0, 5, 12],
        snapshot_at: vec![7, 12],
        ..Horizon::default()
    };
    let without_queues = |schedule: &Schedule| -> Vec<StagePolicy> {
        let strip = |policy| StagePolicy {
            forward_queue: 0,
            backward_queue: 0,
            ..policy
        };
        schedule.policies().into_iter().map(strip).collect()
    };
    assert_eq!(
        drawn::programs(&one, &horizon),
        drawn::programs(&other, &horizon)
    );
    assert_eq!(without_queues(&one), without_queues(&other));
    assert_eq!(one.corrections(), other.corrections());
    assert_eq!(one.micro_batches(), other.micro_batches());
}

#[test]
fn some_methods_are_the_same_run() {
    for stages in 1..=6 {
        let m: Vec<_> = (0..stages).rev().map(|m| m.to_string()).collect();
        assert_same_run("fr", &format!("dsp(m={})", m.join(",")), stages);
        assert_same_run("pipedream", "ddg", stages);
        assert_same_run("adl(1)", "fdg", stages);
        assert_same_run("adl(1, beta=0.5)", "fdg(beta=0.5)", stages);
        assert_same_run("pipemare(anneal=0, decay=0)", "fr", stages);
        assert_same_run("gpipe(1)", "bp", stages);
        assert_same_run("1f1b(1)", "bp", stages);
    }
    assert_same_run("pipemare(anneal=9, decay=0)", "fr + reschedule(9)", 3);
    assert_same_run("fdg + shrink(0.5)", "fdg(beta=0.5)", 3);
    assert_same_run("adl(3)", "fdg + accumulate(3)", 3);
}

#[test]
fn one_forward_one_backward_is_gpipe_in_another_order() {
    for (stages, micro_batches) in [(1, 1), (2, 4), (3, 2), (4, 5)] {
        let parts = |name: &str, wanted: fn(&Action) -> bool| -> Vec<Vec<Action>> {
            let schedule = schedule(&format!("{name}({micro_batches})"), stages);
            drawn::programs(&schedule, &Horizon::of(4))
                .into_iter()
                .map(|program| program.into_iter().filter(wanted).collect())
                .collect()
        };
        for wanted in [is_forward, is_backward, |a: &Action| !is_forward(a)] {
            assert_eq!(parts("gpipe", wanted), parts("1f1b", wanted));
        }
    }
}

fn is_completion(action: &Action) -> bool {
    matches!(action, Action::WeightGradients { .. })
}

fn is_forward(action: &Action) -> bool {
    matches!(action, Action::Forward { .. })
}

fn is_backward(action: &Action) -> bool {
    matches!(action, Action::Backward { .. })
}

fn is_learn(action: &Action) -> bool {
    matches!(action, Action::Learn { .. })
}

fn count(program: &[Action], wanted: fn(&Action) -> bool) -> usize {
    program.iter().filter(|action| wanted(action)).count()
}

proptest! {
    #[test]
    fn every_stage_uses_every_micro_batch_once_and_in_order(
        schedule in drawn::schedule(), horizon in drawn::horizon(),
    ) {
        let m = schedule.micro_batches();
        let units = || (0..horizon.batches * m).map(|unit| (unit / m, unit % m));
        for (stage, program) in drawn::programs(&schedule, &horizon).iter().enumerate() {
            let policy = schedule.policy(stage);
            let filtered = |wanted: fn(&Action) -> bool| -> Vec<Action> {
                program.iter().filter(|action| wanted(action)).copied().collect()
            };
            let forwards: Vec<_> =
                units().map(|(batch, micro)| Action::Forward { batch, micro }).collect();
            prop_assert_eq!(filtered(is_forward), forwards);
            let backwards: Vec<_> =
                units().map(|(batch, micro)| Action::Backward { batch, micro }).collect();
            prop_assert_eq!(filtered(is_backward), backwards);
            let recomputes: Vec<_> = units()
                .filter(|_| policy.kept == Kept::Input)
                .map(|(batch, micro)| Action::Recompute { batch, micro })
                .collect();
            prop_assert_eq!(filtered(|a| matches!(a, Action::Recompute { .. })), recomputes);
            let learns: Vec<_> = units()
                .filter(|_| policy.gradient == GradientSource::Synthetic)
                .map(|(batch, micro)| Action::Learn { batch, micro })
                .collect();
            prop_assert_eq!(filtered(is_learn), learns);
            let completions: Vec<_> = units()
                .filter(|_| policy.split.is_some())
                .map(|(batch, micro)| Action::WeightGradients { batch, micro })
                .collect();
            prop_assert_eq!(filtered(is_completion), completions);
            // An update comes right after the last backward pass of its batch, or the last half of one.
            for (before, after) in program.iter().zip(&program[1.min(program.len())..]) {
                if let Action::Update { version: batch } = *after {
                    let micro = m - 1;
                    prop_assert_eq!(*before, match policy.split {
                        Some(_) => Action::WeightGradients { batch, micro },
                        None => Action::Backward { batch, micro },
                    });
                }
            }
            // A second half comes after its first, and no further behind than the policy says.
            let (mut first, mut second) = (0, 0);
            for action in program {
                first += usize::from(is_backward(action));
                second += usize::from(is_completion(action));
                let behind = if is_completion(action) || policy.split.is_none() { usize::MAX } else { policy.split.unwrap_or(0) + 1 };
                prop_assert!(policy.split.is_none() || (second <= first && first - second <= behind));
            }
            let updates: Vec<_> =
                (0..horizon.batches).map(|version| Action::Update { version }).collect();
            prop_assert_eq!(filtered(|a| matches!(a, Action::Update { .. })), updates);
        }
    }

    /// At every version, cut where a snapshot stands: as many gradients given as taken, and the
    /// activations of the policy in flight.
    #[test]
    fn cuts_are_as_the_policy_says(schedule in drawn::schedule(), batches in 1..20_usize) {
        let horizon = Horizon {
            snapshot_at: (0..=batches).collect(),
            ..Horizon::of(batches)
        };
        let policies = schedule.policies();
        let (m, synchronous) = (schedule.micro_batches(), schedule.synchronous_batches());
        let programs = drawn::programs(&schedule, &horizon);
        let cut = |stage: usize, version: usize| {
            let snapshot = Action::Snapshot { version };
            let at = programs[stage].iter().position(|&action| action == snapshot).unwrap();
            &programs[stage][..at]
        };
        for hop in 0..schedule.stages() - 1 {
            for version in 0..=batches {
                let (below, above) = (cut(hop, version), cut(hop + 1, version));
                prop_assert_eq!(count(below, is_backward), version * m);
                prop_assert_eq!(count(above, is_backward), version * m);
                let in_flight = count(below, is_forward) - count(above, is_forward);
                // How far a stage is ahead is the sum of what is in flight above it.
                let ahead = |stage: usize| {
                    let sum: usize = policies[stage..].iter().map(|policy| policy.in_flight).sum();
                    (version * m + sum).min(batches * m)
                };
                let expected = match version {
                    0 => 0,
                    _ if version <= synchronous => 0,
                    _ => ahead(hop) - ahead(hop + 1),
                };
                prop_assert_eq!(in_flight, expected, "{} hop {} version {}", schedule, hop, version);
                if policies[hop].gradient == GradientSource::Synthetic {
                    prop_assert_eq!(count(below, is_learn), version.saturating_sub(1) * m);
                }
            }
        }
    }

    #[test]
    fn staleness_is_as_the_policy_says(schedule in drawn::schedule(), batches in 0..20_usize) {
        let (m, synchronous) = (schedule.micro_batches(), schedule.synchronous_batches());
        for stage in 0..schedule.stages() {
            let policy = schedule.policy(stage);
            let measured = measured_staleness(schedule.program(stage, &Horizon::of(batches)));
            prop_assert_eq!(measured.len(), batches * m);
            for (unit, &measured) in measured.iter().enumerate() {
                let batch = unit / m;
                // Also with the previous weights: the version before is still there at most one
                // update later.
                prop_assert!(measured <= policy.staleness);
                if batch < synchronous {
                    prop_assert_eq!(measured, 0);
                } else if policy.forward_weights != ForwardWeights::Previous
                    && unit % m == 0
                    && batch >= synchronous + policy.staleness
                {
                    prop_assert_eq!(measured, policy.staleness, "{} batch {}", schedule, batch);
                }
            }
        }
    }

    /// What a run rolls back to relies on it: when the last stage comes to a batch, all stages have made the version that is
    /// `lead` before it.
    #[test]
    fn no_batch_enters_a_stage_further_ahead_than_the_lead(
        schedule in drawn::schedule(), batches in 1..40_usize,
    ) {
        let lead = schedule.lead();
        for stage in 0..schedule.stages() {
            let mut version = 0;
            for action in schedule.program(stage, &Horizon::of(batches)) {
                match action {
                    Action::Update { version: from } => version = from + 1,
                    Action::Forward { batch, .. } => {
                        prop_assert!(version + lead >= batch, "batch {} at version {}, lead {}", batch, version, lead);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A run that halts is the beginning of the whole run plus a snapshot at its end, which its evaluation follows where it is
    /// due, and a run that goes on from the snapshot is the rest, wherever in its program each stage learns of the halt.
    #[test]
    fn a_halt_is_a_beginning_and_the_rest_follows(
        schedule in drawn::schedule(), horizon in drawn::horizon(), end in 0..20_usize, when: usize,
    ) {
        let end = end.min(horizon.batches);
        let listed = horizon.snapshot_at.contains(&end);
        for stage in 0..schedule.stages() {
            let mut whole: Vec<_> = schedule.program(stage, &horizon).collect();
            let mut with_end = horizon.clone();
            with_end.snapshot_at.push(end);
            let there = schedule.program(stage, &with_end);
            let cut = there.take_while(|&a| a != Action::Snapshot { version: end }).count();
            if !listed {
                whole.insert(cut, Action::Snapshot { version: end });
            }
            let (beginning, rest) = whole.split_at(cut + 1);
            let is_evaluated = rest.first() == Some(&Action::Evaluate { version: end });
            let before_halt = &whole[..cut + 1 + usize::from(is_evaluated)];

            // The latest moment is that of the announcement: within the batch before the halt.
            let announced = end.checked_sub(1).map(|batch| Action::Forward { batch, micro: 0 });
            let latest = whole.iter().position(|&a| Some(a) == announced).map_or(0, |at| at + 1);
            let mut program = schedule.program(stage, &horizon);
            let mut ran: Vec<_> = program.by_ref().take(when % (latest + 1)).collect();
            program.halt_at(end);
            ran.extend(program);
            prop_assert_eq!(&ran[..], before_halt, "{} stage {}", schedule, stage);

            let mut resumed = schedule.program(stage, &horizon);
            let kept = resumed.skip_to(end);
            let count = |wanted: fn(&Action) -> bool| beginning.iter().filter(|a| wanted(a)).count();
            let forwards = count(|a| matches!(a, Action::Forward { .. }));
            let backwards = count(|a| matches!(a, Action::Backward { .. }));
            prop_assert_eq!(kept, forwards - backwards);
            let resumed: Vec<_> = resumed.collect();
            prop_assert_eq!(&resumed[..], rest, "{} stage {}", schedule, stage);
        }
    }
}

#[test]
fn the_lead_is_that_of_the_stage_that_runs_furthest_ahead() {
    for (notation, expected) in [
        ("bp", 0),
        ("gpipe(4)", 0),
        ("1f1b(4)", 0),
        ("zb(4)", 0),
        ("pipedream", 2),
        ("dsp", 4),
        ("dsp(2,1,0;6,3,0)", 6),
    ] {
        assert_eq!(schedule(notation, 3).lead(), expected, "{notation}");
    }
}
