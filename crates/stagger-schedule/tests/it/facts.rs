//! What docs/algorithm.md, "Facts", says of programs, counted in them.

use crate::drawn;
use std::collections::VecDeque;

use proptest::prelude::*;
use stagger_schedule::{Action, Horizon, Interpreter, Schedule, measured_staleness};

fn line(program: &[Action]) -> String {
    program
        .iter()
        .map(Action::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_programs_of_the_paper_s_configuration() {
    let schedule = Schedule::parse("dsp(1,1,0;4,2,0)", None).unwrap();
    let programs = drawn::programs(&schedule, &Horizon::of(6));
    #[rustfmt::skip]
    let expected = [
        "F0 F1 F2 F3 F4 R0 B0 U0 F5 R1 B1 U1 R2 B2 U2 R3 B3 U3 R4 B4 U4 R5 B5 U5",
        "F0 F1 F2 R0 B0 U0 F3 R1 B1 U1 F4 R2 B2 U2 F5 R3 B3 U3 R4 B4 U4 R5 B5 U5",
        "F0 B0 U0 F1 B1 U1 F2 B2 U2 F3 B3 U3 F4 B4 U4 F5 B5 U5",
    ];
    assert_eq!(
        programs
            .iter()
            .map(|program| line(program))
            .collect::<Vec<_>>(),
        expected
    );
}

/// The actions up to and including `Update { version - 1 }`.
fn up_to_version(program: &[Action], version: usize) -> &[Action] {
    let update = Action::Update {
        version: version - 1,
    };
    let last = program.iter().position(|&action| action == update).unwrap();
    &program[..=last]
}

fn count(program: &[Action], wanted: fn(&Action) -> bool) -> usize {
    program.iter().filter(|action| wanted(action)).count()
}

fn is_forward(action: &Action) -> bool {
    matches!(action, Action::Forward { .. })
}

fn is_backward(action: &Action) -> bool {
    matches!(action, Action::Backward { .. })
}

/// What a stage sends: the version of every stage that took part, by stage.
type Versions = Vec<usize>;

proptest! {
    /// Fact 1: the sequence of actions of a stage is fixed, whatever the order in time. (That the
    /// interpreter keeps to it is tested beside the interpreter.)
    #[test]
    fn a_program_is_the_same_every_time(schedule in drawn::dsp(), horizon in drawn::horizon()) {
        prop_assert_eq!(drawn::programs(&schedule, &horizon), drawn::programs(&schedule, &horizon));
    }

    /// Fact 2: c moves time, m moves numbers.
    #[test]
    fn programs_depend_on_m_alone(schedule in drawn::dsp(), horizon in drawn::horizon()) {
        let m: Vec<_> =
            schedule.policies().iter().map(|policy| policy.staleness.to_string()).collect();
        let other = Schedule::parse(&format!("dsp(m={})", m.join(",")), None).unwrap();
        prop_assert_eq!(drawn::programs(&schedule, &horizon), drawn::programs(&other, &horizon));
    }

    /// Fact 2: with m = 0 everywhere the run is backpropagation.
    #[test]
    fn without_staleness_dsp_is_backpropagation(stages in 1..6_usize, horizon in drawn::horizon()) {
        let zeros = vec!["0"; stages].join(",");
        let dsp = Schedule::parse(&format!("dsp(m={zeros})"), None).unwrap();
        let bp = Schedule::parse("bp", Some(stages)).unwrap();
        prop_assert_eq!(drawn::programs(&dsp, &horizon), drawn::programs(&bp, &horizon));
        prop_assert_eq!(dsp.policies(), bp.policies());
    }

    /// Fact 3: in the gradient of batch j at stage k, stages from k up enter at version j, a lower
    /// stage i at version j − m_i. The run carries versions instead of tensors.
    #[test]
    fn the_stale_parameters_are_those_of_the_lower_stages(
        schedule in drawn::dsp(), batches in 0..20_usize, seed: u64,
    ) {
        let stages = schedule.stages();
        let mut versions = vec![0; stages];
        let mut activations = vec![VecDeque::<Versions>::new(); stages];
        let mut gradients = vec![VecDeque::<Versions>::new(); stages];
        let mut inputs = vec![VecDeque::<Versions>::new(); stages];
        let horizon = Horizon::of(batches);
        for step in Interpreter::with_order(&schedule, &horizon, drawn::chooser(seed)) {
            let (stage, action) = step.unwrap();
            match action {
                Action::Forward { .. } => {
                    let input = match stage {
                        0 => Versions::new(),
                        _ => activations[stage - 1].pop_front().unwrap(),
                    };
                    let mut output = input.clone();
                    output.push(versions[stage]);
                    inputs[stage].push_back(input);
                    activations[stage].push_back(output);
                }
                Action::Backward { batch, .. } => {
                    let above = match stage + 1 {
                        top if top == stages => Versions::new(),
                        _ => gradients[stage].pop_front().unwrap(),
                    };
                    let mut seen = inputs[stage].pop_front().unwrap();
                    let here = [&[versions[stage]], above.as_slice()].concat();
                    seen.extend(&here);
                    let expected: Versions = (0..stages)
                        .map(|i| match schedule.policy(i).staleness {
                            m if i < stage => batch.saturating_sub(m),
                            _ => batch,
                        })
                        .collect();
                    prop_assert_eq!(seen, expected);
                    if stage > 0 {
                        gradients[stage - 1].push_back(here);
                    }
                }
                Action::Update { .. } => versions[stage] += 1,
                _ => {}
            }
        }
    }

    /// Fact 4: cut after Update(n − 1), the backward queues are empty and m_k − m_{k+1}
    /// activations are in flight (fewer once there are no batches left to forward).
    #[test]
    fn version_aligned_cuts_are_small(schedule in drawn::dsp(), batches in 1..20_usize) {
        let programs = drawn::programs(&schedule, &Horizon::of(batches));
        for hop in 0..schedule.stages() - 1 {
            let (lower, upper) = (schedule.policy(hop), schedule.policy(hop + 1));
            for version in 1..=batches {
                let below = up_to_version(&programs[hop], version);
                let above = up_to_version(&programs[hop + 1], version);
                prop_assert_eq!(count(below, is_backward), count(above, is_backward));
                let in_flight = count(below, is_forward) - count(above, is_forward);
                if version + lower.staleness <= batches {
                    prop_assert_eq!(in_flight, lower.staleness - upper.staleness);
                    prop_assert_eq!(in_flight, lower.forward_queue + lower.backward_queue);
                } else {
                    prop_assert!(in_flight < lower.staleness - upper.staleness + 1);
                }
            }
        }
    }

    /// Batch j < m is forwarded in the warm-up at version 0, so its staleness is only j.
    #[test]
    fn measured_staleness_is_m_after_the_warm_up(schedule in drawn::dsp(), batches in 0..20_usize) {
        for stage in 0..schedule.stages() {
            let m = schedule.policy(stage).staleness;
            let expected: Vec<_> = (0..batches).map(|batch| m.min(batch)).collect();
            let program = schedule.program(stage, &Horizon::of(batches));
            prop_assert_eq!(measured_staleness(program), expected);
        }
    }
}
