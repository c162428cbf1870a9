//! Ctrl-C: what is in flight drains, the weights are written, the exit status is 130.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use stagger::report::Record;

use crate::support::Bench;

/// A learning rate that does not depend on the length of the run.
const CONSTANT_RATE: &str = "--lr 0.01 --lr-schedule constant --warmup-batches 0";

/// Starts a run that would take for ever, and interrupts it once a line that begins with `after` has
/// been said. Gives the exit status and the lines that followed.
fn interrupted(bench: &Bench, arguments: &str, after: &str) -> (Option<i32>, Vec<String>) {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok);
    assert!(
        lines.any(|line| line.starts_with(after)),
        "no line `{after}`"
    );
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let rest = lines.collect();
    (child.wait().expect("the child ends").code(), rest)
}

#[test]
fn an_interrupt_drains_and_saves() {
    for (schedule, stages) in [("dsp", 3), ("bp", 1)] {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let flags = format!(
            "{data} --schedule {schedule} --stages {stages} --epochs 100000 {CONSTANT_RATE}"
        );
        let run = format!("train --batch-size 8 --calibration-batches 0 --output run {flags}");
        let (status, rest) = interrupted(&bench, &run, "epoch ");
        assert_eq!(status, Some(130), "{rest:?}");
        let metrics = bench.metrics("run");
        let Some(Record::End(end)) = metrics.last() else {
            panic!("no end: {rest:?}")
        };
        assert!(end.interrupted && end.version >= 3 && end.error.is_none());
        assert_eq!(bench.losses("run").len(), end.version);

        // The same as a run that was planned to end there.
        bench.train("planned", &format!("{flags} --max-batches {}", end.version));
        assert_eq!(bench.weights("run"), bench.weights("planned"));
    }
}

#[test]
fn an_interrupt_in_the_calibration_leaves_nothing() {
    let bench = Bench::new();
    let run = "train --calibration-batches 100000 --epochs 1000 --output run";
    let (status, rest) = interrupted(&bench, run, "run folder: ");
    assert_eq!(status, Some(130), "{rest:?}");
    assert!(
        rest.iter()
            .any(|line| line.contains("nothing has been trained")),
        "{rest:?}"
    );
    assert!(!bench.path("run").exists());
}
