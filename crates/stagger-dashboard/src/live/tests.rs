//! What the screen of a run of this process shows.

use stagger_report::{EpochPlan, EpochProgress, MetricsFile};
use stagger_runtime::{Acted, Waits};
use stagger_schedule::Action;

use super::*;
use crate::fixtures::{PER_EPOCH, batch, facts};
use crate::folder::FollowedFolder;

fn tally(version: usize) -> EpochTally {
    let plan = EpochPlan {
        batches_per_epoch: PER_EPOCH,
        batches: 4 * PER_EPOCH,
        evaluate_at: (1..=4).map(|epoch| epoch * PER_EPOCH).collect(),
        emulated: false,
    };
    match version {
        0 => EpochTally::new(plan),
        version => {
            let progress = EpochProgress {
                version,
                elapsed: batch(version).at,
                stages: vec![Default::default()],
                ..EpochProgress::default()
            };
            EpochTally::resumed(plan, progress)
        }
    }
}

/// The events of batches on one stage.
fn events(batches: std::ops::Range<usize>, later: Duration) -> Vec<Event> {
    let mut events = vec![Event::Started { stages: 1 }];
    for index in batches {
        let record = batch(index);
        let at = record.at.saturating_sub(later);
        events.push(Event::Trained {
            batch: index,
            samples: 64,
            loss: record.loss,
            correct_top1: index % 64,
            correct_top5: 64,
            learning_rate: record.lr,
            at,
        });
        events.push(Event::Acted(Acted {
            stage: 0,
            action: Action::Update { version: index },
            started_at: at,
            ended_at: at + Duration::from_millis(20),
            waits: Waits::default(),
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: None,
            gap: None,
        }));
        if (index + 1).is_multiple_of(PER_EPOCH) {
            events.push(Event::Evaluated {
                version: index + 1,
                samples: 100,
                loss: 0.5,
                correct_top1: 80,
                correct_top5: 100,
                at,
            });
        }
    }
    events
}

fn live() -> Live {
    let live = Live::new(Palette::PLAIN);
    let schedule = Schedule::parse("bp", Some(1)).unwrap();
    let horizon = Horizon::of(4 * PER_EPOCH);
    live.describe(&facts(1), &schedule, &horizon, &Interrupt::new(), None);
    live
}

fn curves(seen: &RunSeen) -> Vec<Vec<(f64, f64)>> {
    let curves = [&seen.loss, &seen.accuracy, &seen.test_accuracy, &seen.pace];
    curves.map(|curve| curve.points()).to_vec()
}

/// The events of a run give the curves that the file has which is written from them; also of a run that is resumed.
#[test]
fn events_and_lines_show_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(METRICS_FILE);
    let shown = |live: &Live, tally: EpochTally, events: Vec<Event>| {
        let mut file = MetricsFile::open(&path, tally.clone(), facts(1)).unwrap();
        live.begin(&tally);
        for event in &events {
            live.state().take(event);
            file.event(event).unwrap();
        }
        let ended = RunError::Event("killed".into());
        file.finish(Err(&ended)).unwrap();
        let (read, _) = FollowedFolder::open(folder.path()).unwrap();
        let live = live.state().seen.clone();
        assert_eq!(curves(&live), curves(&read.seen));
        assert_eq!(
            (live.version, live.best),
            (read.seen.version, read.seen.best)
        );
        live
    };
    let first = shown(&live(), tally(0), events(0..250, Duration::ZERO));
    assert_eq!(first.loss.points().len(), 250);
    // Resumed in another process.
    let resumed = live();
    resumed.state().resumed = Some(folder.path().to_owned());
    let seen = shown(&resumed, tally(200), events(200..330, batch(200).at));
    assert_eq!(seen.loss.points().len(), 330);
    assert!(seen.rollback.is_none());
}

/// A run that goes back to a snapshot has each batch once, and says so.
#[test]
fn a_rollback_takes_points_back() {
    let live = live();
    live.begin(&tally(0));
    for event in events(0..250, Duration::ZERO) {
        live.state().take(&event);
    }
    live.begin(&tally(200));
    assert_eq!(live.state().seen.loss.points().len(), 200);
    for event in events(200..260, batch(200).at) {
        live.state().take(&event);
    }
    let seen = live.state().seen.clone();
    let batches: Vec<f64> = seen.loss.points().iter().map(|(x, _)| *x).collect();
    assert_eq!(batches, (0..260).map(f64::from).collect::<Vec<_>>());
    let back = seen.rollback.unwrap();
    assert_eq!((back.version, back.times), (200, 1));
    assert_eq!(seen.test_accuracy.points(), [(100.0, 80.0), (200.0, 80.0)]);
}

/// The screen says that the run halts, and what the keys do then.
#[test]
fn an_interrupt_is_told() {
    let live = live();
    live.begin(&tally(0));
    live.state().take(&Event::Interrupted { batch: 7 });
    let (seen, moment) = live.picture(true);
    assert_eq!(seen.halts_at, Some(7));
    assert!(moment.keys.starts_with("halting"));
    assert!(!live.is_up().load(Ordering::SeqCst));
}
