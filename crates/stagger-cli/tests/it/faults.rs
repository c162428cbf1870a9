//! What goes wrong in a run: one sentence, and what docs/snapshots.md says is kept.

use std::fs;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use stagger::report::Record;

use crate::support::{Bench, Output};

/// Two stages, 24 batches of tiny images, a snapshot every 4 batches.
const RUN: &str =
    "--stages 2 --batch-size 8 --epochs 8 --snapshot-every 4 --lr 0.01 --calibration-batches 0";

fn assert_failed(output: &Output, expected: &str) {
    assert_eq!(output.status, 1, "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

/// The error that the last line of the metrics tells of.
fn end_of(bench: &Bench, run: &str) -> (usize, Option<String>) {
    match bench.metrics(run).pop() {
        Some(Record::End(end)) => (end.version, end.error),
        other => panic!("no end: {other:?}"),
    }
}

/// 24 grey pictures in two classes; the pixels of one are damaged behind a header that is whole.
fn pictures(bench: &Bench, damaged: bool) -> String {
    for folder in ["train/a", "train/b", "val/a", "val/b"] {
        fs::create_dir_all(bench.path(folder)).unwrap();
        for number in 0..12_u8 {
            let picture = image::GrayImage::from_fn(32, 32, |x, y| {
                image::Luma([(x * 7 + y * u32::from(number)) as u8])
            });
            let mut bytes = Cursor::new(Vec::new());
            picture
                .write_to(&mut bytes, image::ImageFormat::Png)
                .unwrap();
            let mut bytes = bytes.into_inner();
            if damaged && folder == "train/b" && number == 7 {
                let at = bytes.windows(4).position(|four| four == b"IDAT").unwrap();
                bytes[at + 8..at + 40].fill(0xff);
            }
            // A run that reads them meanwhile finds the whole picture, the old one or the new one.
            let whole = bench.path("picture.partial");
            fs::write(&whole, bytes).unwrap();
            fs::rename(whole, bench.path(folder).join(format!("{number:02}.png"))).unwrap();
        }
    }
    "--dataset image-folder --data-dir .".to_owned()
}

fn has_a_snapshot(run: &Path) -> bool {
    let Ok(entries) = fs::read_dir(run.join("snapshots")) else {
        return false;
    };
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with('v'))
}

/// The picture is named, and once it is repaired the run resumes as if it had never been damaged.
#[test]
fn a_damaged_picture_in_the_middle_of_an_epoch() {
    let bench = Bench::new();
    let data = pictures(&bench, false);
    let flags = format!("{data} {RUN} --epochs 120 --cache-bytes 0");
    let unbroken = bench.stagger(&format!("train {flags} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    // The first epoch goes well; then the disk loses a picture.
    let run = thread::scope(|scope| {
        let run = scope.spawn(|| bench.stagger(&format!("train {flags} --output run")));
        while !has_a_snapshot(&bench.path("run")) && !run.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        pictures(&bench, true);
        run.join().expect("a run")
    });
    assert_failed(&run, "stage 0 failed in the forward of batch ");
    assert!(run.stderr.contains("b/07.png"), "{}", run.stderr);
    let (version, error) = end_of(&bench, "run");
    assert!((3..360).contains(&version), "{version}");
    assert!(error.is_some_and(|error| error.contains("07.png")));
    pictures(&bench, false);
    let repaired = bench.stagger("train --resume run");
    assert_eq!(repaired.status, 0, "{}", repaired.stderr);
    assert_eq!(bench.weights("run"), bench.weights("unbroken"));
    assert_eq!(bench.losses("run"), bench.losses("unbroken"));
}

/// A disk that has no room for a second snapshot: the first one stays, and the run resumes from it where there is room.
#[test]
fn a_disk_that_fills_up() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let unbroken = bench.stagger(&format!("train {data} {RUN} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    let one = stagger::report::snapshot::SnapshotStore::of_run(&bench.path("unbroken"))
        .versions()
        .unwrap()
        .pop()
        .unwrap()
        .1;
    let snapshot_bytes: u64 = fs::read_dir(one)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    fs::create_dir(bench.path("small")).unwrap();
    let disk = bench.path("small");
    let size = format!("size={}k", snapshot_bytes * 2 / 1024);
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        let _ = writeln!(io::stderr(), "skipped: a small disk cannot be mounted here");
        return;
    }
    let run = bench.stagger(&format!("train {data} {RUN} --output small/run"));
    let copied = Command::new("cp")
        .args(["-r", "small/run", "run"])
        .current_dir(&bench.folder)
        .status();
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!(copied.is_ok_and(|status| status.success()));
    assert_failed(&run, "No space left on device");

    let resumed = bench.stagger("train --resume run");
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        resumed.stdout.contains("resumed at version "),
        "{}",
        resumed.stdout
    );
    assert_eq!(bench.weights("run"), bench.weights("unbroken"));
    assert_eq!(bench.losses("run"), bench.losses("unbroken"));
}

/// A learning rate at which the second batch has no loss any more.
const DIVERGES: &str = "--lr 1e30 --lr-schedule constant --warmup-batches 0 --schedule bp";

#[test]
fn batches_without_a_finite_loss_are_left_out_but_not_for_ever() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = bench.stagger(&format!(
        "train {data} {RUN} {DIVERGES} --on-nan skip --output run"
    ));
    assert_failed(&run, "stage 1 failed in the forward of batch ");
    let skipped: Vec<usize> = bench
        .metrics("run")
        .iter()
        .filter_map(|record| match record {
            Record::Skipped(skipped) => Some(skipped.batch),
            _ => None,
        })
        .collect();
    assert!(skipped.len() >= 9, "{skipped:?}");
    assert!(
        skipped.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{skipped:?}"
    );
}

/// A rate that is halved often enough is a good one.
#[test]
fn a_run_that_rolls_back_finds_a_rate_at_which_it_trains() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!("{data} {RUN} --lr-schedule constant --warmup-batches 0 --schedule bp");
    let run = bench.stagger(&format!(
        "train {flags} --lr 1000 --on-nan rollback --output run"
    ));
    let rolled_back = "rolled back to version ";
    assert!(
        run.stdout.contains(rolled_back),
        "{} {}",
        run.stdout,
        run.stderr
    );
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    assert!(log.contains("training diverged"), "{log}");
    assert_eq!(run.status, 0, "{} {}", run.stdout, run.stderr);
    assert_eq!(bench.losses("run").len(), 24);

    // Where no rate is good, it gives up.
    let hopeless = bench.stagger(&format!(
        "train {flags} --lr 1e30 --on-nan rollback --output hopeless"
    ));
    assert_failed(&hopeless, "lower the learning rate");
    assert_eq!(hopeless.stdout.matches(rolled_back).count(), 10);
}

/// Stage 1 sleeps for minutes: the others wait for it.
#[test]
fn a_stage_that_hangs_is_named() {
    let bench = Bench::new();
    let run = bench.stagger(
        "train --batch-size 256 --max-batches 6 --calibration-batches 0 --stages 3 --schedule dsp --stall-timeout 1 --output run \
         --straggler stage=1,probability=1,slowdown=10000%",
    );
    assert_failed(
        &run,
        "nothing has moved for 1 s: the others wait for stage 1, in ",
    );
    let grid: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("stage ") && line.contains(" (w"))
        .collect();
    assert_eq!(grid.len(), 3, "{}", run.stdout);
    assert!(grid[0].ends_with("(waits for the stage above)"), "{grid:?}");
    assert!(grid[1].ends_with("(works)"), "{grid:?}");
    assert!(grid[2].ends_with("(waits for the stage below)"), "{grid:?}");
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    assert!(log.contains("nothing has moved for 1 s"), "{log}");
}
