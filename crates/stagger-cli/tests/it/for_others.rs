//! Files that `stagger train` writes for other programs: a trace, and scalars for TensorBoard.

use std::fs;

use serde_json::Value;

use crate::support::Bench;

const RUN: &str = "train --max-batches 12 --batch-size 16 --calibration-batches 0 --evaluate false --trace trace.json";

#[test]
fn a_run_is_traced() {
    let bench = Bench::new();
    let output = bench.stagger(&format!("{RUN} --output run"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let trace: Value =
        serde_json::from_slice(&fs::read(bench.path("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let names = |track: u64, letter: &str| -> usize {
        let of_track = events
            .iter()
            .filter(|event| event["ph"] == "X" && event["tid"] == track);
        let names = of_track.filter_map(|event| event["name"].as_str());
        names.filter(|name| name.starts_with(letter)).count()
    };
    for (track, letter, expected) in [
        (0, "F", 12),
        (0, "R", 12),
        (0, "B", 12),
        (1, "F", 12),
        (1, "R", 0),
        (1, "B", 12),
    ] {
        assert_eq!(names(track, letter), expected, "{letter} of stage {track}");
    }
    let arrows = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((arrows("s"), arrows("f")), (24, 24));
    // The slices of a track do not overlap.
    for track in 0..2 {
        let slices = events
            .iter()
            .filter(|event| event["ph"] == "X" && event["tid"] == track);
        let mut until = 0.0;
        for slice in slices {
            let (from, lasts) = (
                slice["ts"].as_f64().unwrap(),
                slice["dur"].as_f64().unwrap(),
            );
            assert!(from >= until - 1e-3, "{slice} begins before {until}");
            until = from + lasts;
        }
    }
}

#[test]
fn a_trace_replaces_no_file() {
    let bench = Bench::new();
    fs::write(bench.path("trace.json"), "mine").unwrap();
    let output = bench.stagger(&format!("{RUN} --output run"));
    assert_eq!(output.status, 2);
    assert_eq!(
        output.stderr,
        "error: trace.json is there already; name another file, or remove it\n"
    );
    assert!(!bench.path("run").exists());
    let output = bench.stagger("train --trace no/trace.json --output run");
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.contains("no/trace.json cannot be written"),
        "{}",
        output.stderr
    );
}

#[test]
fn scalars_for_tensorboard_are_beside_those_of_before() {
    let bench = Bench::new();
    let run = RUN.replace("--trace trace.json", "--tensorboard board");
    let output = bench.stagger(&format!("{run} --output run"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let output = bench.stagger("train --resume run --max-batches 14 --tensorboard board");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let files: Vec<_> = fs::read_dir(bench.path("board")).unwrap().collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let has = |tag: &[u8]| bytes.windows(tag.len()).any(|found| found == tag);
        assert!(has(b"brain.Event:2"));
        assert!(has(b"loss/train"));
    }
    fs::write(bench.path("file"), "mine").unwrap();
    let output = bench.stagger("train --tensorboard file --output other");
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.contains("a file already"),
        "{}",
        output.stderr
    );
    assert!(!bench.path("other").exists());
}
