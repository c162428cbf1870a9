//! Disks that fail in some calls or do not answer, by a preloaded library: benchmarks/reliability/shim.c.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bench, Output, disk_faults};

pub const RUN: &str = "--stages 2 --schedule dsp --batch-size 8 --epochs 8 --snapshot-every 4 --keep-snapshots 30 --lr 0.01 \
                   --calibration-batches 0";

/// A folder with data and an unbroken run.
pub fn bench() -> (Bench, String) {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN}");
    let unbroken = bench.stagger(&format!("{run} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    (bench, run)
}

/// Runs on a disk with these faults.
pub fn with_faults(bench: &Bench, faults: &str, arguments: &str) -> Output {
    let output = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .envs(disk_faults(bench, faults))
        .output()
        .expect("the binary starts");
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn is_as_unbroken(bench: &Bench, name: &str, what: &str) {
    for file in ["last.safetensors", "best.safetensors"] {
        let read = |run: &str| fs::read(bench.path(run).join(file)).unwrap();
        assert!(read(name) == read("unbroken"), "{what}: {file}");
    }
    assert_eq!(bench.losses(name), bench.losses("unbroken"), "{what}");
}

fn has_snapshots(run: &Path) -> bool {
    fs::read_dir(run.join("snapshots")).is_ok_and(|mut entries| entries.next().is_some())
}

/// A sentence that names the file, and a run that goes on to the bits of the unbroken one, or had nothing to go on from.
#[test]
fn a_run_whose_files_cannot_be_written_goes_on_from_what_all_of_them_cover() {
    let (bench, run) = bench();
    for (number, (faults, file)) in [
        ("write:metrics.jsonl:2:0:EIO", "metrics.jsonl"),
        ("write:metrics.jsonl:7:0:ENOSPC", "metrics.jsonl"),
        ("write:metrics.jsonl:5:1:EIO", "metrics.jsonl"),
        ("sync:metrics.jsonl:3:0:EIO", "metrics.jsonl"),
        ("sync:metrics.jsonl:4:1:EDQUOT", "metrics.jsonl"),
        ("write:run.log:6:0:ENOSPC", "run.log"),
        ("write:last.safetensors:4:0:EIO", "last.safetensors"),
        ("sync:stage-1:1:0:EIO", "snapshots"),
        ("sync:manifest:1:0:ENOSPC", "snapshots"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("run{number}");
        let failed = with_faults(&bench, faults, &format!("{run} --output {name}"));
        assert_eq!(failed.status, 1, "{faults}: {}", failed.stdout);
        assert_eq!(
            failed.stderr.lines().count(),
            1,
            "{faults}: {}",
            failed.stderr
        );
        assert!(failed.stderr.contains(file), "{faults}: {}", failed.stderr);
        assert!(has_snapshots(&bench.path(&name)), "{faults}");
        for resume in [
            format!("train --resume {name}"),
            format!("{run} --resume auto --output {name}"),
        ] {
            let resumed = bench.stagger(&resume);
            assert_eq!(resumed.status, 0, "{faults}: {}", resumed.stderr);
            is_as_unbroken(&bench, &name, faults);
        }
    }
}

/// Whatever hangs, the run ends with the file's name, and goes on once the disk answers.
#[test]
fn a_disk_that_does_not_answer_is_named() {
    let (bench, run) = bench();
    for (number, (faults, file)) in [
        ("write:metrics.jsonl:3:0:hang", "metrics.jsonl"),
        ("sync:metrics.jsonl:2:0:hang", "metrics.jsonl"),
        ("write:run.log:7:0:hang", "run.log"),
        ("sync:stage-1:1:0:hang", "stage-1.safetensors"),
        ("sync:manifest:1:0:hang", "manifest"),
        ("sync:last.safetensors:2:0:hang", "last.safetensors"),
        // The last call of the run.
        ("write:run.log:20:0:hang", "run.log"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("run{number}");
        let hung = with_faults(
            &bench,
            faults,
            &format!("{run} --stall-timeout 1 --output {name}"),
        );
        assert_eq!(hung.status, 1, "{faults}: {} {}", hung.stdout, hung.stderr);
        let sentence = "error: the disk has not answered for 1 s: the run waits for it to ";
        assert!(
            hung.stderr.starts_with(sentence),
            "{faults}: {}",
            hung.stderr
        );
        assert_eq!(hung.stderr.lines().count(), 1, "{faults}: {}", hung.stderr);
        assert!(hung.stderr.contains(file), "{faults}: {}", hung.stderr);
        let resumed = bench.stagger(&format!("{run} --resume auto --output {name}"));
        assert_eq!(resumed.status, 0, "{faults}: {}", resumed.stderr);
        is_as_unbroken(&bench, &name, faults);
    }
}
