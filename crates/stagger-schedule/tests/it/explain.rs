//! The text of `stagger explain`, kept as snapshots.

use stagger_schedule::{Schedule, explain};

fn text(notation: &str, stages: usize, batches: usize) -> String {
    explain(&Schedule::parse(notation, Some(stages)).unwrap(), batches)
}

#[test]
fn bp_on_three_stages() {
    insta::assert_snapshot!(text("bp", 3, 6));
}

#[test]
fn the_configuration_of_the_paper() {
    insta::assert_snapshot!(text("dsp(1,1,0;4,2,0)", 3, 12));
}

#[test]
fn the_smallest_lock_free_dsp_on_two_stages() {
    insta::assert_snapshot!(text("dsp", 2, 8));
}

#[test]
fn one_unit_of_staleness_without_a_forward_queue() {
    insta::assert_snapshot!(text("dsp(0,0;1,0)", 2, 8));
}

#[test]
fn gpipe_on_three_stages() {
    insta::assert_snapshot!(text("gpipe(4)", 3, 2));
}

#[test]
fn one_forward_one_backward_on_three_stages() {
    insta::assert_snapshot!(text("1f1b(4)", 3, 2));
}

#[test]
fn zero_bubble_on_three_stages() {
    insta::assert_snapshot!(text("zb(4)", 3, 2));
}

#[test]
fn pipedream_on_three_stages() {
    insta::assert_snapshot!(text("pipedream", 3, 6));
}

#[test]
fn double_buffered_weights_on_three_stages() {
    insta::assert_snapshot!(text("2bw(4)", 3, 2));
}

#[test]
fn pipemare_with_a_warm_up_on_three_stages() {
    insta::assert_snapshot!(text("pipemare(sync=2)", 3, 5));
}

#[test]
fn accumulated_decoupled_learning_on_three_stages() {
    insta::assert_snapshot!(text("adl(2, beta=0.9)", 3, 4));
}

#[test]
fn synthetic_gradients_on_three_stages() {
    insta::assert_snapshot!(text("dni", 3, 6));
}

#[test]
fn mitigations_on_three_stages() {
    insta::assert_snapshot!(text("dsp + accumulate(2) + predict", 3, 4));
}

#[test]
fn every_method_is_explained_on_any_number_of_stages() {
    for stages in 1..=5 {
        for notation in Schedule::examples(Some(stages)) {
            let text = text(&notation, stages, 5);
            let schedule = Schedule::parse(&notation, Some(stages)).unwrap();
            let neighbours = match schedule.method().relations().len() {
                0 => None,
                _ => Some("Neighbours"),
            };
            let titles = ["Grid", "Stages", "Staleness", "Locks", "Costs"];
            for title in titles.into_iter().chain(neighbours) {
                assert!(
                    text.contains(&format!("\n{title}\n\n  ")),
                    "{title}: {text}"
                );
            }
            let long = |line: &&str| line.chars().count() > 100;
            assert_eq!(text.lines().find(long), None, "{text}");
        }
    }
}

#[test]
fn dsp_on_one_stage() {
    insta::assert_snapshot!(text("dsp", 1, 4));
}

#[test]
fn long_runs_are_split_into_panels_and_cut() {
    for (notation, stages) in [
        ("dsp", 4),
        ("bp", 4),
        ("bp", 64),
        ("dsp", 64),
        ("gpipe(1024)", 8),
        ("adl(3)", 8),
    ] {
        for batches in [0, 1, 100, usize::MAX] {
            let text = text(notation, stages, batches);
            let short = |line: &str| line.chars().count() <= 100 || line.contains("dsp(");
            assert!(text.lines().all(short), "{text}");
            assert!(text.lines().count() < 2500, "{text}");
            if batches == usize::MAX {
                assert!(text.contains("The grid is cut after 200 ticks."), "{text}");
            }
        }
    }
}
