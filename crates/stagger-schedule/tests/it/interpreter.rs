//! Every order of the interpreter is an order in which the actions can really run.

use crate::drawn;
use std::collections::HashMap;

use proptest::prelude::*;
use stagger_schedule::{Action, Deadlock, GradientSource, Horizon, Interpreter, Program, Schedule};

/// The order of a run, or the deadlock it ends in.
fn order(interpreter: Interpreter) -> Result<Vec<(usize, Action)>, Deadlock> {
    interpreter.collect()
}

/// What must have run before an action, apart from the earlier actions of the same stage.
fn needs(stage: usize, action: Action, schedule: &Schedule) -> Option<(usize, Action)> {
    let has_above = stage + 1 < schedule.stages();
    let waits = schedule.policy(stage).gradient == GradientSource::Above;
    match action {
        Action::Forward { .. } | Action::Evaluate { .. } if stage > 0 => Some((stage - 1, action)),
        Action::Backward { .. } if has_above && waits => Some((stage + 1, action)),
        Action::Learn { batch, micro } => Some((stage + 1, Action::Backward { batch, micro })),
        _ => None,
    }
}

proptest! {
    #[test]
    fn any_order_is_a_linear_extension_of_the_programs(
        schedule in drawn::schedule(), horizon in drawn::horizon(), seed: u64,
    ) {
        let interpreter = Interpreter::with_order(&schedule, &horizon, drawn::chooser(seed));
        let order = order(interpreter).unwrap();
        let position: HashMap<_, _> =
            order.iter().enumerate().map(|(position, &step)| (step, position)).collect();
        prop_assert_eq!(position.len(), order.len(), "no action runs twice");
        for (&(stage, action), here) in &position {
            if let Some(needed) = needs(stage, action, &schedule) {
                prop_assert!(position[&needed] < *here, "{} at stage {}", action, stage);
            }
        }
        for (stage, program) in drawn::programs(&schedule, &horizon).into_iter().enumerate() {
            let ran: Vec<_> =
                order.iter().filter(|step| step.0 == stage).map(|step| step.1).collect();
            prop_assert_eq!(ran, program);
        }
    }

    #[test]
    fn queues_never_hold_more_than_their_length_and_the_batch_being_sent(
        schedule in drawn::schedule(), batches in 0..20_usize, seed: u64,
    ) {
        let horizon = Horizon::of(batches);
        let mut run = Interpreter::with_order(&schedule, &horizon, drawn::chooser(seed));
        while let Some(step) = run.next() {
            step.unwrap();
            for stage in 0..schedule.stages() - 1 {
                let policy = schedule.policy(stage);
                prop_assert!(run.activations_in_flight(stage) <= policy.forward_queue + 1);
                prop_assert!(run.gradients_in_flight(stage) <= policy.backward_queue + 1);
            }
        }
        for stage in 0..schedule.stages() - 1 {
            prop_assert_eq!(run.activations_in_flight(stage), 0);
            prop_assert_eq!(run.gradients_in_flight(stage), 0);
        }
    }

    #[test]
    fn evaluation_lets_no_more_than_is_in_flight_at_a_version_pile_up(
        schedule in drawn::schedule(), horizon in drawn::horizon(), seed: u64,
    ) {
        let mut run = Interpreter::with_order(&schedule, &horizon, drawn::chooser(seed));
        while let Some(step) = run.next() {
            step.unwrap();
            for stage in 0..schedule.stages() - 1 {
                let policy = schedule.policy(stage);
                let most = policy.in_flight.max(policy.forward_queue);
                prop_assert!(run.activations_in_flight(stage) <= most + 1);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_stage_of_a_method_that_flushes_never_waits_for_room(
        stages in 1..6_usize, micro_batches in 1..7_usize, order: bool, seed: u64,
    ) {
        let name = if order { "gpipe" } else { "1f1b" };
        let schedule = Schedule::parse(&format!("{name}({micro_batches})"), Some(stages)).unwrap();
        let mut run = Interpreter::with_order(&schedule, &Horizon::of(4), drawn::chooser(seed));
        while let Some(step) = run.next() {
            step.unwrap();
            for stage in 0..stages - 1 {
                let policy = schedule.policy(stage);
                prop_assert!(run.activations_in_flight(stage) <= policy.forward_queue);
                prop_assert!(run.gradients_in_flight(stage) <= policy.backward_queue);
            }
        }
    }
}

#[test]
fn a_stage_that_waits_in_evaluate_frees_the_stage_below() {
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let horizon = Horizon {
        batches: 4,
        evaluate_at: vec![1],
        snapshot_at: vec![],
        ..Horizon::default()
    };
    // The lower stage runs whenever it can: it has sent batch 2 when the upper stage asks for the
    // evaluation, and there is room for one.
    let order = order(Interpreter::with_order(&schedule, &horizon, |_| 0)).unwrap();
    let text: Vec<_> = order
        .iter()
        .map(|(stage, action)| format!("{stage}:{action}"))
        .collect();
    assert_eq!(
        text.join(" "),
        "0:F0 0:F1 1:F0 0:F2 1:B0 1:U0 0:R0 0:B0 0:U0 0:E1 0:F3 0:R1 1:E1 1:F1 1:B1 0:B1 0:U1 0:R2 \
         1:U1 1:F2 1:B2 0:B2 0:U2 0:R3 1:U2 1:F3 1:B3 0:B3 0:U3 1:U3"
    );
}

#[test]
fn a_rendezvous_holds_the_sender_until_the_batch_is_taken() {
    let schedule = Schedule::parse("dsp(0,0;2,0)", None).unwrap();
    let order = order(Interpreter::with_order(&schedule, &Horizon::of(2), |_| 0)).unwrap();
    let text: Vec<_> = order
        .iter()
        .map(|(stage, action)| format!("{stage}:{action}"))
        .collect();
    assert_eq!(
        text.join(" "),
        "0:F0 1:F0 0:F1 1:B0 1:U0 1:F1 0:R0 0:B0 0:U0 0:R1 1:B1 0:B1 0:U1 1:U1"
    );
}

#[test]
fn programs_that_do_not_fit_together_end_in_an_explained_deadlock() {
    let horizon = Horizon::of(3);
    let exact = Schedule::parse("bp", Some(2)).unwrap();
    let stale = Schedule::parse("dsp", Some(2)).unwrap();
    // The upper stage runs ahead of a stage below that does not.
    let stages = vec![
        (exact.policy(0), exact.program(0, &horizon)),
        (stale.policy(1), stale.program(0, &horizon)),
    ];
    let mut run = Interpreter::of_programs(stages, |_| 0);
    let deadlock = run.find_map(Result::err).unwrap();
    assert_eq!(
        deadlock.to_string(),
        "no stage can go on: stage 0 waits for the gradient of batch 0 before B0, stage 1 waits for \
         the activation of batch 1 before F1"
    );
    assert!(run.next().is_none(), "a deadlock is reported once");
}

/// Runs one stage whose program is written by hand, with split backward passes.
fn by_hand(actions: Vec<Action>) -> Result<Vec<(usize, Action)>, Deadlock> {
    struct ByHand(std::vec::IntoIter<Action>);
    impl Iterator for ByHand {
        type Item = Action;
        fn next(&mut self) -> Option<Action> {
            self.0.next()
        }
    }
    impl Program for ByHand {
        fn snapshot_at(&mut self, _: usize) {}
        fn halt_at(&mut self, _: usize) {}
    }
    let policy = Schedule::parse("zb(2)", Some(1)).unwrap().policy(0);
    let program: Box<dyn Program> = Box::new(ByHand(actions.into_iter()));
    order(Interpreter::of_programs(vec![(policy, program)], |_| 0))
}

#[test]
fn a_second_half_follows_its_first_in_order_and_comes_before_the_update() {
    let batch = 0;
    let [f0, f1] = [0, 1].map(|micro| Action::Forward { batch, micro });
    let [b0, b1] = [0, 1].map(|micro| Action::Backward { batch, micro });
    let [w0, w1] = [0, 1].map(|micro| Action::WeightGradients { batch, micro });
    let u0 = Action::Update { version: 0 };
    for right in [
        vec![f0, b0, f1, b1, w0, w1, u0],
        vec![f0, b0, w0, f1, b1, w1, u0],
    ] {
        assert_eq!(
            by_hand(right.clone()).map(|order| order.len()),
            Ok(right.len())
        );
    }
    let text = |actions| by_hand(actions).unwrap_err().to_string();
    assert_eq!(
        text(vec![f0, w0, b0, u0]),
        "no stage can go on: stage 0 waits for its own backward pass of batch 0 before W0"
    );
    assert_eq!(
        text(vec![f0, f1, b0, b1, w1, w0, u0]),
        "no stage can go on: stage 0 waits for its own backward pass of batch 0.1 before W0.1"
    );
    assert_eq!(
        text(vec![f0, f1, b0, b1, w0, u0, w1]),
        "no stage can go on: stage 0 waits for its own gradients of weights of batch 0.1 before U0"
    );
}
