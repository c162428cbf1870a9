//! Summaries of whole runs.

use std::time::Duration;

use stagger_report::{RunSummary, RunTally};
use stagger_runtime::{Acted, Event};

use crate::stream::Run;

fn summary(run: &Run, skip: usize) -> RunSummary {
    let mut tally = RunTally::new(skip);
    run.events().iter().for_each(|event| tally.event(event));
    tally.summary()
}

#[test]
fn evaluations_and_skipped_batches_do_not_count() {
    let all = summary(&Run::dsp(), 0);
    assert_eq!((all.batches, all.samples), (8, 80));
    assert_eq!(all.wall, Duration::from_millis(8 * 6));
    assert_eq!(all.images_per_second, 80.0 / 0.048);

    let skipped = summary(&Run::dsp(), 3);
    assert_eq!((skipped.batches, skipped.samples), (5, 50));
    assert_eq!(skipped.wall, Duration::from_millis(5 * 6));
    assert_eq!(skipped.images_per_second, 50.0 / 0.030);
    // Stage 0 has run five of its eight forwards by its update of batch 2.
    assert_eq!(skipped.stages[0].forward, Duration::from_millis(3));
    assert_eq!(skipped.stages[0].busy_share, 1.0);
    assert_eq!(skipped.stages[1].busy_share, 5.0 / 6.0);
    assert!((skipped.bubble_share - 1.0 / 12.0).abs() < 1e-12);
}

/// Of the slowest stage, to its update of the last batch that counts: what it does for later ones is none of it.
#[test]
fn what_a_stage_is_ahead_is_no_speed() {
    let run = Run::dsp();
    let mut tally = RunTally::within(3, 2);
    for event in run.events() {
        // The last stage has had its batches twice as fast.
        tally.event(&match event {
            Event::Acted(acted) if acted.stage == 1 => Event::Acted(Acted {
                started_at: acted.started_at / 2,
                ended_at: acted.ended_at / 2,
                ..acted
            }),
            other => other,
        });
    }
    let counted = tally.summary();
    assert_eq!((counted.batches, counted.samples), (2, 20));
    assert_eq!(counted.wall, Duration::from_millis(2 * 5));
    assert_eq!(counted.images_per_second, 20.0 / 0.010);
    assert_eq!(counted.stages[0].busy_share, 1.0);
    let backward = |tally: &RunSummary, stage: usize| tally.stages[stage].backward;
    let all = summary(&run, 0);
    assert_eq!(4 * backward(&counted, 0), backward(&all, 0));
}

#[test]
fn a_run_shorter_than_the_skip_has_no_rate() {
    let summary = summary(&Run::dsp(), 9);
    assert_eq!((summary.batches, summary.images_per_second), (0, 0.0));
    assert_eq!(summary.wall, Duration::ZERO);
}

#[test]
fn the_best_of_equals_is_the_first() {
    let mut run = Run {
        evaluate_at: vec![0, 2, 4, 8],
        ..Run::dsp()
    };
    run.correct = [(0, 100), (2, 800), (4, 800), (8, 700)].into();
    assert_eq!(summary(&run, 0).best_test_top1, Some((2, 80.0)));
    run.evaluate_at.clear();
    assert_eq!(summary(&run, 0).best_test_top1, None);
}
