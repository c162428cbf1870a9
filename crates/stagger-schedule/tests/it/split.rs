//! Backward passes in two halves: the same programs with more actions.

use crate::drawn;
use stagger_schedule::{Action, Horizon, Schedule};

fn schedule(notation: &str, stages: usize) -> Schedule {
    Schedule::parse(notation, Some(stages)).unwrap()
}

/// Without second halves the programs are those of 1F1B; so numbers are the same, as first halves, second halves and updates are
/// in the same order.
#[test]
fn zero_bubble_is_one_forward_one_backward_with_second_halves_in_between() {
    for stages in 1..=5 {
        for micro_batches in 1..=7 {
            let horizon = Horizon {
                evaluate_at: vec![1, 3],
                snapshot_at: vec![0, 2],
                ..Horizon::of(3)
            };
            let [whole, split] = ["1f1b", "zb"].map(|name| {
                let schedule = schedule(&format!("{name}({micro_batches})"), stages);
                drawn::programs(&schedule, &horizon)
            });
            let without = split.into_iter().map(|program| {
                let others = program
                    .into_iter()
                    .filter(|action| !matches!(action, Action::WeightGradients { .. }));
                others.collect::<Vec<_>>()
            });
            assert_eq!(whole, without.collect::<Vec<_>>());
        }
    }
    assert!(schedule("zb(4)", 3).gives_the_numbers_of(&schedule("1f1b(4)", 3)));
}

/// Both halves of a backward pass, one behind the other, in the place of the whole one.
#[test]
fn a_split_schedule_does_the_same_with_halves() {
    for notation in [
        "bp",
        "dsp",
        "pipedream",
        "2bw(4)",
        "pipemare(sync=3)",
        "dni",
        "dsp + accumulate(2)",
    ] {
        let [whole, split] =
            ["", " + split"].map(|added| schedule(&format!("{notation}{added}"), 3));
        assert!(split.gives_the_numbers_of(&whole));
        let horizon = Horizon {
            snapshot_at: vec![2, 7],
            ..Horizon::of(9)
        };
        let programs = drawn::programs(&whole, &horizon).into_iter();
        let expected = programs.map(|program| -> Vec<Action> {
            let halves = program.into_iter().flat_map(|action| match action {
                Action::Backward { batch, micro } => {
                    vec![action, Action::WeightGradients { batch, micro }]
                }
                other => vec![other],
            });
            halves.collect()
        });
        assert_eq!(
            drawn::programs(&split, &horizon),
            expected.collect::<Vec<_>>()
        );
    }
}
