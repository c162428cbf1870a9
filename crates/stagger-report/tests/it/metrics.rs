//! `metrics.jsonl`, written and read back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, json};
use stagger_report::{EpochProgress, EpochTally, MetricsFile, Record, Sink, read_metrics};
use stagger_runtime::{Event, RunError};

use crate::stream::Run;

fn facts() -> Map<String, serde_json::Value> {
    let facts = json!({ "schedule": "dsp(1,0;2,0)", "model": "resnet8", "seed": 1 });
    facts.as_object().unwrap().clone()
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let run = Run::dsp();
    run.feed(&mut MetricsFile::create(&path, run.tally(), facts()).unwrap());
    let records = read_metrics(&path).unwrap();

    let kinds: String = records
        .iter()
        .map(|record| match record {
            Record::Run(_) => 'r',
            Record::Batch(_) => 'b',
            Record::Epoch(_) => 'E',
            Record::End(_) => 'x',
            _ => '?',
        })
        .collect();
    assert_eq!(kinds, "rbbbbEbbbbEx");
    let Record::Run(first) = &records[0] else {
        panic!("{records:?}")
    };
    assert_eq!(first.facts, facts());

    let mut tally = run.tally();
    let expected: Vec<_> = run
        .events()
        .iter()
        .filter_map(|event| tally.event(event))
        .collect();
    let found: Vec<_> = records
        .iter()
        .filter_map(|record| {
            if let Record::Epoch(epoch) = record {
                Some(epoch)
            } else {
                None
            }
        })
        .cloned()
        .collect();
    assert_eq!(found, expected, "to the bit");

    let Some(Record::End(end)) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(
        (end.version, end.interrupted, end.error.as_deref()),
        (8, false, None)
    );
    assert_eq!(end.wall, Duration::from_millis(1500));
    assert_eq!(end.peak_memory_bytes.is_some(), cfg!(target_os = "linux"));
}

/// Programs of users rely on these names.
#[test]
fn lines_look_like_this() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let run = Run {
        batches_per_epoch: 2,
        batches: 2,
        evaluate_at: vec![2],
        ..Run::dsp()
    };
    run.feed(&mut MetricsFile::create(&path, run.tally(), facts()).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    insta::assert_snapshot!(lines[..4].join("\n"), @r#"
    {"kind":"run","format_version":1,"facts":{"model":"resnet8","schedule":"dsp(1,0;2,0)","seed":1}}
    {"kind":"batch","batch":0,"epoch":1,"loss":0.0,"top1":0.0,"top5":100.0,"lr":0.1,"samples":10,"seconds":0.003}
    {"kind":"batch","batch":1,"epoch":1,"loss":1.0,"top1":10.0,"top5":100.0,"lr":0.05,"samples":10,"seconds":0.009}
    {"kind":"epoch","epoch":1,"epochs":1,"version":2,"batches":2,"train_loss":0.5,"train_top1":5.0,"train_top5":100.0,"learning_rate":0.05,"test_loss":0.02,"test_top1":50.0,"test_top5":99.0,"images_per_second":1666.6666666666667,"wall_seconds":0.012,"stages":[{"busy_share":1.0,"forward_seconds":0.002,"recompute_seconds":0.002,"backward_seconds":0.004,"update_seconds":0.002,"transfer_seconds":0.0,"waited_seconds":0.0,"loader_seconds":0.0,"receive_seconds":0.0,"send_seconds":0.0,"unaccounted_seconds":0.0,"staleness_mean":0.5,"staleness_max":1,"staleness_counts":[1,1],"delayed_seconds":0.0},{"busy_share":0.8333333333333334,"forward_seconds":0.004,"recompute_seconds":0.0,"backward_seconds":0.004,"update_seconds":0.002,"transfer_seconds":0.0,"waited_seconds":0.002,"loader_seconds":0.0,"receive_seconds":0.002,"send_seconds":0.0,"unaccounted_seconds":0.0,"staleness_mean":0.0,"staleness_max":0,"staleness_counts":[2],"delayed_seconds":0.0}],"bubble_share":0.08333333333333326}
    "#);
}

#[test]
fn a_failure_is_written_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let run = Run::dsp();
    let mut metrics = MetricsFile::create(&path, run.tally(), facts()).unwrap();
    let events = run.events();
    for event in &events[..events.len() / 2] {
        metrics.event(event).unwrap();
    }
    metrics
        .finish(Err(&RunError::Event("the dog ate it".into())))
        .unwrap();
    let records = read_metrics(&path).unwrap();
    let Some(Record::End(end)) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(
        end.error.as_deref(),
        Some("the run was stopped: the dog ate it")
    );
    assert!(end.version > 0 && end.version < 8, "{end:?}");
    assert!(end.wall > Duration::ZERO);
    assert!(
        matches!(records[records.len() - 2], Record::Epoch(_)),
        "the epoch up to there"
    );
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, "precious").unwrap();
    let error = MetricsFile::create(&path, Run::dsp().tally(), facts())
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with("could not create "), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// At version 0 there is nothing to keep: an earlier attempt died before its first snapshot.
#[test]
fn a_run_that_starts_again_replaces_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let run = Run::dsp();
    for attempt in 0..2 {
        let file = MetricsFile::open(&path, run.tally(), facts()).unwrap();
        drop(file);
        assert_eq!(read_metrics(&path).unwrap().len(), 1, "attempt {attempt}");
    }
    run.feed(&mut MetricsFile::open(&path, run.tally(), facts()).unwrap());
    let progress = EpochProgress {
        version: 8,
        ..EpochProgress::default()
    };
    let resumed = EpochTally::resumed(run.tally().plan().clone(), progress);
    drop(MetricsFile::open(&path, resumed, Map::new()).unwrap());
    // All batches and epochs are kept; only the end is not.
    assert_eq!(read_metrics(&path).unwrap().len(), 11);
}

/// What the lines of a file say, without times.
fn told(path: &Path) -> Vec<String> {
    let records = read_metrics(path).unwrap().into_iter();
    records
        .map(|record| match record {
            Record::Batch(batch) => format!("{} {}", batch.batch, batch.loss),
            Record::Epoch(epoch) => {
                let staleness: Vec<_> = epoch.stages.iter().map(|s| s.staleness_mean).collect();
                format!(
                    "epoch {} {} {} {} {:?} {staleness:?}",
                    epoch.epoch, epoch.batches, epoch.train_loss, epoch.train_top1, epoch.test_top1
                )
            }
            Record::End(end) => format!("end {}", end.version),
            _ => "run".to_owned(),
        })
        .collect()
}

/// A run that is resumed from a snapshot has each line once, and continues the sums of the epoch from there: also where it dies
/// in the evaluation of the snapshot's version, or right after it.
#[test]
fn a_resumed_file_is_that_of_the_unbroken_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run {
        batches: 10,
        evaluate_at: vec![4, 8, 10],
        snapshot_at: vec![3, 4, 8, 10],
        ..Run::dsp()
    };
    let whole = folder.path().join("whole.jsonl");
    run.feed(&mut MetricsFile::create(&whole, run.tally(), facts()).unwrap());
    let events = run.events();

    for version in [3, 4, 8, 10] {
        let is_taken =
            |event: &Event| matches!(event, Event::Snapshot { version: at, .. } if *at == version);
        let complete = 1 + events.iter().rposition(is_taken).unwrap();
        for end in complete..=events.len() {
            let broken = folder.path().join(format!("broken-{version}-{end}.jsonl"));
            let mut tally = run.tally().capturing();
            let mut file = MetricsFile::create(&broken, run.tally(), facts()).unwrap();
            let mut progress = None;
            for (at, event) in events[..end].iter().enumerate() {
                file.event(event).unwrap();
                tally.event(event);
                if at + 1 == complete {
                    progress = tally.take_progress(version);
                }
            }
            drop(file);
            let progress = progress.unwrap();
            assert_eq!(progress.version, version);
            assert_eq!(progress.ended.is_some(), version != 3);

            let resumed = EpochTally::resumed(tally.plan().clone(), progress);
            let mut file = MetricsFile::resume(&broken, resumed).unwrap();
            file.event(&events[0]).unwrap();
            for event in run.events_after_snapshot(version) {
                file.event(&event).unwrap();
            }
            file.finish(Ok(&run.outcome())).unwrap();
            assert_eq!(
                told(&broken),
                told(&whole),
                "version {version}, event {end}"
            );
        }
    }
}

/// The manifest says so when a version is evaluated: then the summary of its epoch stays, and it is not evaluated again.
#[test]
fn a_file_resumed_behind_an_evaluation_keeps_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::dsp();
    let whole = folder.path().join("whole.jsonl");
    run.feed(&mut MetricsFile::create(&whole, run.tally(), facts()).unwrap());
    let broken = folder.path().join("broken.jsonl");
    run.feed(&mut MetricsFile::create(&broken, run.tally(), facts()).unwrap());
    let mut tally = run.tally().capturing();
    for event in run.events() {
        tally.event(&event);
    }
    let mut progress = tally.take_progress(4).unwrap();
    assert_eq!(progress.ended.as_ref().unwrap().trained.batches, 4);
    progress.ended = None;
    let resumed = EpochTally::resumed(tally.plan().clone(), progress);
    let mut file = MetricsFile::resume(&broken, resumed).unwrap();
    file.event(&run.events()[0]).unwrap();
    for event in run.events_after_snapshot(4) {
        if !matches!(event, Event::Evaluated { version: 4, .. }) {
            file.event(&event).unwrap();
        }
    }
    file.finish(Ok(&run.outcome())).unwrap();
    assert_eq!(told(&broken), told(&whole));
}

#[test]
fn a_file_that_lacks_batches_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let run = Run::dsp();
    run.feed(&mut MetricsFile::create(&path, run.tally(), facts()).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("\"batch\":5,"))
        .collect();
    fs::write(&path, without.join("\n") + "\n").unwrap();
    let progress = EpochProgress {
        version: 7,
        ..EpochProgress::default()
    };
    let tally = EpochTally::resumed(run.tally().plan().clone(), progress);
    let Err(error) = MetricsFile::resume(&path, tally) else {
        panic!("a file without batch 5");
    };
    let error = error.to_string();
    assert!(
        error.contains("6 batches before version 7; 7 were expected"),
        "{error}"
    );
    // It is left as it was.
    assert_eq!(
        fs::read_to_string(&path).unwrap().lines().count(),
        without.len()
    );
}
