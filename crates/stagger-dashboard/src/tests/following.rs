//! Run folders that change while they are watched.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use crate::fixtures::{batch, end, lines, records, seen};
use crate::folder::FollowedFolder;
use crate::seen::RunSeen;
use crate::watch_once;

struct Run(TempDir);

impl Run {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn metrics(&self) -> PathBuf {
        self.0.path().join("metrics.jsonl")
    }

    fn write(&self, content: &str) {
        fs::write(self.metrics(), content).unwrap();
    }
}

/// The points of all curves.
fn curves(seen: &RunSeen) -> Vec<Vec<(f64, f64)>> {
    let curves = [
        &seen.loss,
        &seen.accuracy,
        &seen.test_loss,
        &seen.test_accuracy,
        &seen.pace,
    ];
    curves.map(|curve| curve.points()).to_vec()
}

/// Bytes come in parts that end anywhere, and each batch is a point once.
#[test]
fn a_run_is_followed_while_it_is_written() {
    let run = Run::new();
    let written = records(350, &[0.9, 0.9]);
    let text = lines(&written);
    run.write("");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(run.metrics()).unwrap();
            for part in text.as_bytes().chunks(777) {
                file.write_all(part).unwrap();
                thread::yield_now();
            }
        });
        let (mut folder, _) = FollowedFolder::open(run.0.path()).unwrap();
        while !writer.is_finished() {
            folder.look();
            assert_eq!(folder.seen.fault, None);
        }
        folder.look();
        assert_eq!(curves(&folder.seen), curves(&seen(&written)));
        assert_eq!(folder.seen.version, 350);
    });
}

/// A run that was killed, and resumed at a snapshot before: the file is written anew, with other numbers from there on.
#[test]
fn a_resumed_run_has_no_point_twice_and_none_is_missing() {
    let run = Run::new();
    let before = records(250, &[0.9, 0.9]);
    // Killed in the middle of a line.
    let killed = lines(&before);
    run.write(&killed[..killed.len() - 40]);
    let (mut folder, _) = FollowedFolder::open(run.0.path()).unwrap();
    assert_eq!(folder.seen.version, 249);
    let mut resumed = records(200, &[0.9, 0.9]);
    let again = |index: usize| {
        let mut record = batch(index);
        record.at += std::time::Duration::from_secs(3);
        record.loss += 0.25;
        stagger_report::Record::Batch(record)
    };
    for upto in [210, 249, 300] {
        let known = resumed.len() - 201 - 2;
        resumed.extend((200 + known..upto).map(again));
        run.write(&lines(&resumed));
        folder.look();
        assert_eq!(folder.seen.version, upto);
        assert_eq!(curves(&folder.seen), curves(&seen(&resumed)));
        assert_eq!(folder.seen.loss.points().len(), upto);
    }
}

/// A run that ended, and goes on: its last line is gone.
#[test]
fn a_run_that_goes_on_is_no_longer_done() {
    let run = Run::new();
    let mut written = records(200, &[0.9, 0.9]);
    written.push(end(200, None));
    run.write(&lines(&written));
    let (mut folder, _) = FollowedFolder::open(run.0.path()).unwrap();
    assert!(folder.seen.end.is_some());
    let on = records(260, &[0.9, 0.9]);
    run.write(&lines(&on));
    folder.look();
    assert!(folder.seen.end.is_none());
    assert_eq!(curves(&folder.seen), curves(&seen(&on)));
}

/// What cannot be read now is said, and read later.
#[test]
fn a_file_that_cannot_be_read_for_a_while_is_said_so() {
    let run = Run::new();
    let whole = lines(&records(50, &[0.9]));
    run.write(&whole);
    let (mut folder, _) = FollowedFolder::open(run.0.path()).unwrap();
    fs::remove_file(run.metrics()).unwrap();
    folder.look();
    assert!(
        folder
            .seen
            .fault
            .as_ref()
            .unwrap()
            .contains("could not read")
    );
    assert_eq!(folder.seen.version, 50);
    run.write(&format!("{whole}nonsense\u{1b}\n"));
    folder.look();
    let fault = folder.seen.fault.clone().unwrap();
    assert!(
        fault.starts_with("metrics.jsonl is read up to line 52, which is no record: "),
        "{fault}"
    );
    run.write(&lines(&records(60, &[0.9])));
    folder.look();
    assert_eq!((folder.seen.fault.clone(), folder.seen.version), (None, 60));
}

/// A hundred thousand batches are a few hundred points, read in parts.
#[test]
fn memory_does_not_grow_with_the_run() {
    let run = Run::new();
    let mut written = records(0, &[0.9]);
    written.extend((0..100_000).map(|index| stagger_report::Record::Batch(batch(index))));
    run.write(&lines(&written));
    let (mut folder, mut has_more) = FollowedFolder::open(run.0.path()).unwrap();
    let mut looks = 1;
    while has_more {
        has_more = folder.look();
        looks += 1;
    }
    assert!(looks > 3, "{looks}");
    assert_eq!(folder.seen.version, 100_000);
    assert!(
        curves(&folder.seen)
            .iter()
            .all(|points| points.len() <= 400)
    );
}

#[cfg(unix)]
#[test]
fn a_folder_of_a_stranger_holds_up_nothing() {
    use std::os::unix::fs::symlink;

    let run = Run::new();
    let sentence = |run: &Run| watch_once(run.0.path()).unwrap_err().to_string();
    assert!(sentence(&run).contains("is no run folder: it has no metrics.jsonl"));
    let made = std::process::Command::new("mkfifo")
        .arg(run.metrics())
        .status();
    assert!(made.unwrap().success());
    assert!(sentence(&run).contains("it is a pipe and not a regular file"));
    fs::remove_file(run.metrics()).unwrap();
    symlink("/etc/passwd", run.metrics()).unwrap();
    assert!(sentence(&run).contains("leads out of its folder"));
    fs::remove_file(run.metrics()).unwrap();
    run.write("root:x:0:0\u{1b}[2J\n");
    let found = sentence(&run);
    assert!(
        found.contains("line 1: no record: ") && !found.contains('\u{1b}'),
        "{found}"
    );
    // A pipe in the place of another file is passed over.
    run.write(&lines(&records(5, &[0.9])));
    let rollback = run.0.path().join("rollback.json");
    let made = std::process::Command::new("mkfifo").arg(rollback).status();
    assert!(made.unwrap().success());
    assert!(watch_once(run.0.path()).unwrap().contains("batch 5 of 400"));
}
