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
fn dsp_on_one_stage() {
    insta::assert_snapshot!(text("dsp", 1, 4));
}

#[test]
fn long_runs_are_split_into_panels_and_cut() {
    for (notation, stages) in [("dsp", 4), ("bp", 4), ("bp", 64), ("dsp", 64)] {
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
