//! `last.safetensors` and `best.safetensors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use stagger_engine::StageState;
use stagger_report::{
    BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, RunFolder, Sink, Weights, WeightsFiles, read_weights,
};
use stagger_runtime::Event;

use crate::stream::Run;

fn metadata() -> BTreeMap<String, String> {
    [("model".to_owned(), "resnet8".to_owned())].into()
}

/// Versions in the last and in the best file after each event at which they changed.
fn versions(run: &Run, events: &[Event]) -> Vec<(Option<usize>, Option<usize>)> {
    let base = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&base.path().join("run")).unwrap();
    let mut files = WeightsFiles::new(&folder, metadata(), &run.evaluate_at);
    let mut seen = vec![(None, None)];
    for event in events {
        files.event(event).unwrap();
        let now = (
            version(&folder, LAST_WEIGHTS_FILE),
            version(&folder, BEST_WEIGHTS_FILE),
        );
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    files.finish(Ok(&run.outcome())).unwrap();
    seen
}

/// The version in the metadata, checked against the values.
fn version(folder: &RunFolder, name: &str) -> Option<usize> {
    let path = folder.file(name);
    path.exists().then(|| {
        let weights = read_weights(&path).unwrap();
        let version: usize = weights.metadata["version"].parse().unwrap();
        let values: Vec<_> = weights
            .state
            .tensors
            .values()
            .map(|tensor| tensor.data[0])
            .collect();
        assert_eq!(
            values, [version as f32; 2],
            "both stages, no optimizer, one version"
        );
        assert_eq!(weights.state.counters.len(), 2);
        version
    })
}

#[test]
fn last_follows_every_snapshot_and_best_the_strictly_better() {
    let run = Run {
        batches: 20,
        evaluate_at: vec![4, 8, 12, 16, 20],
        snapshot_at: vec![4, 8, 12, 16, 20],
        correct: [(4, 700), (8, 700), (12, 900), (16, 899), (20, 901)].into(),
        ..Run::dsp()
    };
    let expected = [(4, 4), (8, 4), (12, 12), (16, 12), (20, 20)];
    let expected: Vec<_> = expected.map(|(last, best)| (Some(last), Some(best))).into();
    // The last file is there before the evaluation.
    let before = [
        (4, None),
        (4, Some(4)),
        (8, Some(4)),
        (12, Some(4)),
        (12, Some(12)),
        (16, Some(12)),
        (20, Some(12)),
        (20, Some(20)),
    ];
    let before: Vec<_> = before.map(|(last, best)| (Some(last), best)).into();
    assert_eq!(versions(&run, &run.events())[1..], before);
    // Stage 0 may be several versions ahead.
    assert_eq!(versions(&run, &run.stage_after_stage([0, 1]))[1..], before);
    // Events of the last stage may come first: then both files change in one event.
    assert_eq!(
        versions(&run, &run.stage_after_stage([1, 0]))[1..],
        expected
    );
}

#[test]
fn without_an_evaluation_there_is_no_best() {
    let run = Run {
        evaluate_at: vec![],
        ..Run::dsp()
    };
    let seen = versions(&run, &run.events());
    assert_eq!(seen[1..], [(Some(4), None), (Some(8), None)]);
}

#[test]
fn an_interrupted_run_leaves_its_last_version() {
    let run = Run {
        interrupted_at: Some(6),
        ..Run::dsp()
    };
    let seen = versions(&run, &run.events());
    assert_eq!(seen.last(), Some(&(Some(6), Some(4))));
}

#[test]
fn a_run_that_resumes_before_an_evaluation_has_the_weights_of_it() {
    let base = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&base.path().join("run")).unwrap();
    let run = Run::dsp();
    let mut state = StageState::default();
    for event in run.events() {
        if let Event::Snapshot {
            version: 4,
            snapshot,
            ..
        } = event
        {
            state.merge(snapshot.state.clone().without_optimizer());
        }
    }
    let files = WeightsFiles::new(&folder, metadata(), &run.evaluate_at);
    let mut files = files.resumed_before_evaluation(4, state);
    files.event(&Event::Started { stages: 2 }).unwrap();
    for event in run.events_after_snapshot(4) {
        files.event(&event).unwrap();
    }
    assert_eq!(version(&folder, LAST_WEIGHTS_FILE), Some(8));
    // Version 8 is not better.
    assert_eq!(version(&folder, BEST_WEIGHTS_FILE), Some(4));
}

#[test]
fn an_evaluation_that_is_not_the_runs_own_makes_no_best() {
    let run = Run {
        evaluate_at: vec![4],
        ..Run::dsp()
    };
    let whole = Run::dsp();
    let seen = versions(&run, &whole.events());
    assert_eq!(seen.last(), Some(&(Some(8), Some(4))));
}

fn best(folder: &Path) -> (Weights, Vec<u8>) {
    let folder = RunFolder::create(folder).unwrap();
    let run = Run {
        correct: [(4, 932), (8, 900)].into(),
        ..Run::dsp()
    };
    run.feed(&mut WeightsFiles::new(
        &folder,
        metadata(),
        &run.evaluate_at,
    ));
    let path = folder.file(BEST_WEIGHTS_FILE);
    (read_weights(&path).unwrap(), fs::read(&path).unwrap())
}

#[test]
fn metadata_tells_where_the_weights_come_from_and_bytes_are_the_same_each_time() {
    let base = tempfile::tempdir().unwrap();
    let (weights, bytes) = best(&base.path().join("a"));
    let metadata: Vec<_> = weights
        .metadata
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        metadata.join(" "),
        "format=pt model=resnet8 stagger_format=1 test_top1=93.2 version=4"
    );
    assert_eq!(best(&base.path().join("b")).1, bytes);
}

#[test]
fn a_folder_that_is_gone_ends_the_run() {
    let base = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&base.path().join("run")).unwrap();
    fs::remove_dir(folder.path()).unwrap();
    let mut files = WeightsFiles::new(&folder, metadata(), &[]);
    let failed = Run::dsp()
        .events()
        .iter()
        .find_map(|event| files.event(event).err());
    let error = failed.unwrap().to_string();
    assert!(error.contains("last.safetensors"), "{error}");
}
