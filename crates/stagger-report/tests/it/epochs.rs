//! Summaries of epochs.

use std::time::Duration;

use stagger_report::{EpochPlan, EpochSummary, EpochTally, StageSummary};
use stagger_runtime::{Acted, Event};
use stagger_schedule::Action;

use crate::stream::Run;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn summaries(mut tally: EpochTally, events: &[Event]) -> Vec<EpochSummary> {
    let mut summaries: Vec<_> = events
        .iter()
        .filter_map(|event| tally.event(event))
        .collect();
    assert!(
        summaries.is_empty() || tally.flush().is_empty(),
        "whole epochs need no flush"
    );
    summaries.extend(tally.flush());
    summaries
}

/// Stage 0 is two batches ahead: its first epoch holds six forwards, its second two.
#[test]
fn stages_end_epochs_with_their_own_update() {
    let run = Run::dsp();
    let epochs = summaries(run.tally(), &run.events());
    assert_eq!(epochs.len(), 2);

    let of_stage_0 = |forwards, staleness_mean, counts: &[usize]| StageSummary {
        busy_share: 1.0,
        forward: ms(forwards),
        recompute: ms(4),
        backward: ms(8),
        update: ms(4),
        staleness_mean,
        staleness_max: 2,
        staleness_counts: counts.to_vec(),
        ..StageSummary::default()
    };
    // Batches 0 and 1 ran their forward before the first update.
    assert_eq!(
        epochs[0].stages[0],
        of_stage_0(6, (0.0 + 1.0 + 2.0 + 2.0) / 4.0, &[1, 1, 2])
    );
    assert_eq!(epochs[1].stages[0], of_stage_0(2, 2.0, &[0, 0, 4]));
    let of_stage_1 = StageSummary {
        busy_share: 20.0 / 24.0,
        forward: ms(8),
        recompute: ms(0),
        backward: ms(8),
        update: ms(4),
        waited: ms(4),
        receive: ms(4),
        staleness_counts: vec![4],
        ..StageSummary::default()
    };
    assert_eq!(epochs[0].stages[1], of_stage_1);
    assert_eq!(epochs[1].stages[1], of_stage_1);
}

#[test]
fn an_epoch_sums_up_training_and_evaluation() {
    let mut run = Run::dsp();
    run.correct.insert(8, 932);
    let epochs = summaries(run.tally(), &run.events());
    let second = &epochs[1];
    assert_eq!(
        (second.epoch, second.epochs, second.version, second.batches),
        (2, 2, 8, 4)
    );
    assert_eq!(second.train_loss, (4.0 + 5.0 + 6.0 + 7.0) / 4.0);
    assert_eq!(second.train_top1, 100.0 * 22.0 / 40.0);
    assert_eq!(second.train_top5, 100.0);
    assert_eq!(second.learning_rate, 0.1 / 8.0);
    assert_eq!(second.test_loss, Some(0.08));
    assert_eq!(second.test_top1, Some(93.2));
    assert_eq!(second.test_top5, Some(99.0));
    assert_eq!(second.wall, ms(24), "evaluation and snapshot are left out");
    assert_eq!(second.images_per_second, 40.0 / 0.024);
    assert!((second.bubble_share - 1.0 / 12.0).abs() < 1e-12);
}

/// Loss and accuracy are weighted by the samples of each batch.
#[test]
fn a_smaller_last_batch_counts_less() {
    let mut run = Run::dsp();
    (run.batches_per_epoch, run.batches) = (2, 2);
    (run.evaluate_at, run.snapshot_at) = (vec![], vec![]);
    let mut events = run.events();
    for event in &mut events {
        if let Event::Trained {
            batch: 1,
            samples,
            loss,
            correct_top5,
            ..
        } = event
        {
            (*samples, *loss, *correct_top5) = (5, 4.0, 5);
        }
    }
    let epochs = summaries(run.tally(), &events);
    assert_eq!(epochs[0].train_loss, (0.0 * 10.0 + 4.0 * 5.0) / 15.0);
    assert_eq!(epochs[0].train_top1, 100.0 * 1.0 / 15.0);
    assert_eq!(epochs[0].train_top5, 100.0);
    assert_eq!(epochs[0].test_top1, None);
}

/// Events of different stages come in any order; with one batch per epoch a stage may be many
/// epochs ahead of another.
#[test]
fn the_order_between_stages_does_not_matter() {
    let run = Run {
        schedule: "dsp(1,1,0;4,2,0)",
        batches_per_epoch: 1,
        batches: 9,
        evaluate_at: vec![1, 3, 9],
        ..Run::dsp()
    };
    let expected = summaries(run.tally(), &run.events());
    assert_eq!(expected.len(), 9);
    assert_eq!(
        expected
            .iter()
            .filter(|epoch| epoch.test_top1.is_some())
            .count(),
        3
    );
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut tally = run.tally();
        let mut found = Vec::new();
        for event in run.stage_after_stage(order) {
            found.extend(tally.event(&event));
        }
        found.extend(tally.flush());
        assert_eq!(found, expected, "{order:?}");
    }
}

#[test]
fn a_summary_waits_for_all_stages_and_for_the_evaluation() {
    let run = Run::dsp();
    let mut tally = run.tally();
    let mut evaluated = false;
    let mut ended = [false; 2];
    for event in run.events() {
        match event {
            Event::Evaluated { version: 4, .. } => evaluated = true,
            Event::Acted(Acted {
                stage,
                action: Action::Update { version: 3 },
                ..
            }) => ended[stage] = true,
            _ => {}
        }
        if tally.event(&event).is_some() {
            assert!(evaluated && ended == [true; 2], "{event:?}");
            return;
        }
    }
    panic!("no summary came");
}

#[test]
fn evaluations_inside_an_epoch_are_not_its_own_and_cost_no_time() {
    let run = Run {
        evaluate_at: vec![0, 2, 8],
        snapshot_at: vec![3],
        ..Run::dsp()
    };
    let epochs = summaries(run.tally(), &run.events());
    assert_eq!(epochs[0].test_top1, None);
    assert_eq!(epochs[0].wall, ms(24));
    assert_eq!(epochs[0].stages[0].busy_share, 1.0);
    assert!(epochs[1].test_top1.is_some());
}

#[test]
fn the_last_epoch_may_be_short() {
    let run = Run {
        batches: 6,
        evaluate_at: vec![4, 6],
        ..Run::dsp()
    };
    let epochs = summaries(run.tally(), &run.events());
    let short = &epochs[1];
    assert_eq!(
        (short.epoch, short.epochs, short.version, short.batches),
        (2, 2, 6, 2)
    );
    assert!(short.test_top1.is_some());
}

#[test]
fn an_interrupted_epoch_comes_from_flush() {
    let run = Run {
        interrupted_at: Some(6),
        ..Run::dsp()
    };
    let mut tally = run.tally();
    let whole: Vec<_> = run
        .events()
        .iter()
        .filter_map(|event| tally.event(event))
        .collect();
    assert_eq!(whole.len(), 1);
    let rest = tally.flush();
    assert_eq!(rest.len(), 1);
    let cut_short = &rest[0];
    assert_eq!((cut_short.epoch, cut_short.epochs), (2, 2));
    assert_eq!((cut_short.version, cut_short.batches), (6, 2));
    assert_eq!(cut_short.wall, ms(12));
    assert_eq!(cut_short.stages[0].backward, ms(4));
    assert_eq!(cut_short.test_top1, None);
    assert!(tally.flush().is_empty());
}

#[test]
fn an_evaluation_where_the_run_was_ended_belongs_to_its_last_epoch() {
    let run = Run {
        interrupted_at: Some(6),
        ..Run::dsp()
    };
    let mut tally = run.tally();
    for event in run.events() {
        tally.event(&event);
    }
    let evaluated = |version| Event::Evaluated {
        version,
        samples: 1000,
        loss: 0.1,
        correct_top1: 700,
        correct_top5: 900,
        at: ms(2000),
    };
    assert_eq!(tally.event(&evaluated(5)), None);
    assert_eq!(tally.event(&evaluated(6)), None);
    assert_eq!(tally.flush()[0].test_top1, Some(70.0));
}

#[test]
fn an_interrupt_between_epochs_leaves_nothing_to_flush() {
    let run = Run {
        interrupted_at: Some(4),
        ..Run::dsp()
    };
    assert_eq!(summaries(run.tally(), &run.events()).len(), 1);
}

/// After a failure events simply stop: what was trained is told, whole epochs or not.
#[test]
fn a_failed_run_is_summed_up_as_far_as_it_came() {
    let run = Run::dsp();
    let events = run.events();
    for length in 0..events.len() {
        let mut tally = run.tally();
        let mut epochs: Vec<_> = events[..length]
            .iter()
            .filter_map(|event| tally.event(event))
            .collect();
        epochs.extend(tally.flush());
        let trained = events[..length]
            .iter()
            .filter(|e| matches!(e, Event::Trained { .. }));
        assert_eq!(
            epochs.iter().map(|epoch| epoch.batches).sum::<usize>(),
            trained.count()
        );
        assert!(epochs.iter().all(|epoch| epoch.stages.len() == 2));
    }
}

/// A run that ends inside an epoch may go on one day: its last snapshot has the sums of every stage so far, whichever of them was the
/// first at the end.
#[test]
fn the_last_snapshot_of_a_short_epoch_has_the_sums_of_all_stages() {
    let run = Run {
        schedule: "dsp(1,1,0;4,2,0)",
        batches_per_epoch: 10,
        batches: 6,
        evaluate_at: vec![],
        snapshot_at: vec![6],
        ..Run::dsp()
    };
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]].map(|order| run.stage_after_stage(order));
    let progress = [orders.to_vec(), vec![run.events()]].concat();
    let progress = progress.into_iter().map(|events| {
        let mut tally = run.tally().capturing();
        for event in &events {
            tally.event(event);
        }
        tally.take_progress(6).expect("all stages have taken it")
    });
    let progress: Vec<_> = progress.collect();
    for found in &progress {
        assert_eq!(found.trained.batches, 6);
        assert_eq!(found.stages, progress[0].stages);
    }
    // Resumed right there, the epoch has all of its time. One that trains on nothing more has no summary of it.
    let longer = EpochPlan {
        batches: 10,
        ..run.tally().plan().clone()
    };
    let whole = Run {
        batches: 10,
        snapshot_at: vec![],
        ..run
    };
    let mut idle = EpochTally::resumed(longer.clone(), progress[1].clone());
    idle.event(&Event::Started { stages: 3 });
    assert_eq!(idle.flush(), []);
    let mut tally = EpochTally::resumed(longer, progress[1].clone());
    tally.event(&Event::Started { stages: 3 });
    let rest = whole.events().into_iter().filter(|event| match event {
        Event::Acted(acted) => {
            matches!(acted.action, Action::Update { version } if version >= 6)
        }
        Event::Trained { batch, .. } => *batch >= 6,
        _ => false,
    });
    let summary = rest
        .filter_map(|event| tally.event(&event))
        .last()
        .expect("the end");
    assert_eq!(summary.batches, 10);
    for stage in &summary.stages {
        // Those of the six batches before: of the others there are only updates here.
        assert!(stage.forward + stage.backward >= ms(6 * 3), "{stage:?}");
    }
}
