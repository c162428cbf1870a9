//! `run.log`.

use std::fs;

use stagger_report::{RunLog, Sink};
use stagger_runtime::RunError;

use crate::stream::Run;

/// The lines without the time in front.
fn untimed(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let (stamp, rest) = line.split_once(' ').unwrap();
        assert!(
            stamp.len() == 20 && stamp.starts_with("20") && stamp.ends_with('Z'),
            "{stamp}"
        );
        format!("{rest}\n")
    });
    lines.collect()
}

#[test]
fn the_log_tells_the_run_from_start_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.log");
    let log = RunLog::create(&path).unwrap();
    log.line("command: stagger train\nseed: 1").unwrap();
    let run = Run {
        interrupted_at: Some(6),
        ..Run::dsp()
    };
    run.feed(&mut log.sink(run.tally()));
    log.sink(run.tally())
        .finish(Err(&RunError::Event("the disk broke".into())))
        .unwrap();
    log.line("peak memory: 1 GiB").unwrap();
    insta::assert_snapshot!(untimed(&fs::read_to_string(&path).unwrap()), @r"
    command: stagger train
    seed: 1
    started: stages 2
    halting at version 6
    epoch 1/2 · loss  1.500 · train  15.0 % · test  50.0 % (top-5  99.0 %) · lr 0.0250 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 1.2 0
    epoch 2/2 · loss  4.500 · train  45.0 % · test     –                   · lr 0.0167 ·   1667 images/s · busy 100 %  83 % · bubble   8 % · staleness 2 0
    finished: version 6, 1.5 s
    failed: the run was stopped: the disk broke
    peak memory: 1 GiB
    ");
}

#[test]
fn an_existing_log_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.log");
    fs::write(&path, "precious").unwrap();
    assert!(RunLog::create(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
