//! `metrics.jsonl`, written and read back.

use std::fs;
use std::time::Duration;

use serde_json::{Map, json};
use stagger_report::{MetricsFile, Record, Sink, read_metrics};
use stagger_runtime::RunError;

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

/// The names are a promise to whoever reads the file.
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
