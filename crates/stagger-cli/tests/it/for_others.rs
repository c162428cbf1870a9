//! What `stagger train` has for other programs: a trace, scalars for TensorBoard, and figures for Prometheus.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

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

/// The folder of a new run is a good place for what others read of it.
#[test]
fn what_others_read_may_be_in_the_folder_of_the_run() {
    let bench = Bench::new();
    let run = RUN.replace("--trace trace.json", "");
    let inside = "--trace ./run/trace.json --tensorboard run/board";
    let output = bench.stagger(&format!("{run} --output run {inside}"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    for name in ["trace.json", "board", "metrics.jsonl"] {
        assert!(bench.path("run").join(name).exists(), "{name}");
    }
    // Nothing is there when the run is refused.
    let refused = bench.stagger(&format!(
        "{run} --output other --trace other/trace.json --stages 99"
    ));
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(!bench.path("other").exists());
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

/// What is served at an address under `/metrics`.
fn page(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn figures_are_served_while_a_run_lasts() {
    let bench = Bench::new();
    let mut run = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args("train --epochs 1000 --batch-size 8 --calibration-batches 0 --evaluate false --keep-snapshots 0".split(' '))
        .args(["--metrics-listen", "127.0.0.1:0", "--output", "run"])
        .current_dir(&bench.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("metrics: http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    let value = |page: &str, name: &str| -> Option<f64> {
        let found = page.lines().find_map(|line| line.strip_prefix(name))?;
        found.trim().parse().ok()
    };
    let served = loop {
        let served = page(address);
        // Two batches of both stages, and a gap.
        if value(&served, "stagger_stage_gap_ratio{stage=\"0\"}").is_some_and(|gap| gap > 0.0)
            && value(&served, "stagger_stage_version{stage=\"1\"}") >= Some(2.0)
        {
            break served;
        }
        assert!(run.try_wait().unwrap().is_none(), "{served}");
    };
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(TcpStream::connect(address).is_err());
    for start in [
        "HTTP/1.1 200 OK",
        "stagger_run_info{model=\"resnet8\",dataset=\"shapes\",schedule=\"dsp(",
        "stagger_train_loss ",
        "stagger_learning_rate ",
        "stagger_images_per_second ",
        "stagger_stage_busy_ratio{stage=\"1\"} ",
        "stagger_stage_wait_ratio{stage=\"0\",reason=\"loader\"} ",
        "stagger_stage_seconds_total{stage=\"0\",activity=\"recompute\"} ",
        "stagger_stage_staleness{stage=\"0\"} ",
        "stagger_hop_batches{below=\"0\",above=\"1\"} ",
        "stagger_rollbacks_total 0",
        "stagger_stalls_total 0",
    ] {
        let is_there = served.lines().any(|line| line.starts_with(start));
        assert!(is_there, "{start}\n{served}");
    }
    #[cfg(target_os = "linux")]
    assert!(value(&served, "process_resident_memory_bytes ") > Some(1e6));
}

#[test]
fn an_address_that_cannot_be_listened_at_is_refused_before_training() {
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (address, starts, ends) in [
        (
            "9100",
            "error: `9100` is no address to listen at; ",
            "give HOST:PORT, such as 127.0.0.1:9100\n",
        ),
        (
            &taken,
            &format!("error: cannot listen at {taken} for requests of metrics: "),
            "; name another port\n",
        ),
    ] {
        let words = ["train", "--output", "run", "--metrics-listen", address];
        let output = bench.stagger_words(&words);
        assert_eq!(output.status, 2);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stderr.starts_with(starts), "{}", output.stderr);
        assert!(output.stderr.ends_with(ends), "{}", output.stderr);
        assert!(!bench.path("run").exists());
    }
}
