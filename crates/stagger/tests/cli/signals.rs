//! Ctrl-C: what is in flight drains, the weights are written, the exit status is 130.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use stagger::report::Record;

use crate::support::Bench;

/// A learning rate that does not depend on the length of the run.
const CONSTANT_RATE: &str = "--lr 0.01 --lr-schedule constant --warmup-batches 0";

#[test]
fn an_interrupt_drains_and_saves() {
    let bench = Bench::new();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args("train --batch-size 8 --calibration-batches 0 --output run --epochs 1000".split(' '))
        .args(CONSTANT_RATE.split(' '))
        .current_dir(&bench.folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // The second line is said right before training starts.
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.by_ref().take(2).all(|line| line.is_ok()));
    std::thread::sleep(std::time::Duration::from_millis(700));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = child.wait().expect("the child ends");
    assert_eq!(status.code(), Some(130), "{rest:?}");

    let metrics = bench.metrics("run");
    let Some(Record::End(end)) = metrics.last() else {
        panic!("no end: {rest:?}")
    };
    assert!(end.interrupted && end.version > 0 && end.error.is_none());
    assert_eq!(bench.losses("run").len(), end.version);

    // The same as a run that was planned to end there.
    bench.train(
        "planned",
        &format!("--max-batches {} {CONSTANT_RATE}", end.version),
    );
    assert_eq!(bench.weights("run"), bench.weights("planned"));
}
