//! Disks of rank 0 that hang or turn read-only: the only rank that writes ends all of them, and nothing is lost.

use std::process::Stdio;

use super::{end_of, mpirun, processes, stagger};
use crate::disks::{RUN, bench, is_as_unbroken};
use crate::read_only::{CALLS, ends_in_a_sentence, errors, is_refused};
use crate::support::{Bench, Output, disk_faults};

const RANKS: usize = 3;

/// A run on three stages, and the same in one process that nothing interrupts.
fn three_stages() -> (Bench, String) {
    let (bench, run) = bench();
    let run = run.replace("--stages 2", "--stages 3");
    let unbroken = bench.stagger(&format!("{run} --output three"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    std::fs::remove_dir_all(bench.path("unbroken")).unwrap();
    std::fs::rename(bench.path("three"), bench.path("unbroken")).unwrap();
    (bench, run)
}

/// Runs over the ranks on a disk with these faults. No rank is left.
fn with_faults(bench: &Bench, faults: &str, arguments: &str) -> Output {
    let child = mpirun(bench, RANKS, arguments)
        .envs(disk_faults(bench, faults))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mpirun");
    let ranks = processes(&child);
    let (status, stderr) = end_of(child, &ranks);
    Output {
        status: status.unwrap_or(-1),
        stdout: String::new(),
        stderr,
    }
}

fn goes_on(bench: &Bench, run: &str, name: &str, faults: &str) {
    let resumed = stagger(
        bench,
        RANKS,
        &format!("{run} --resume auto --output {name}"),
    );
    assert_eq!(resumed.status, 0, "{faults}: {}", resumed.stderr);
    is_as_unbroken(bench, name, faults);
}

#[test]
fn a_disk_of_rank_0_that_does_not_answer_is_named_and_ends_all_ranks() {
    let (bench, run) = three_stages();
    for (number, (faults, file, flags)) in [
        ("sync:stage-1:1:0:hang", "stage-1.safetensors", ""),
        // Here training waits for the disk.
        (
            "sync:stage-1:1:0:hang",
            "stage-1.safetensors",
            "--on-nan rollback",
        ),
        ("sync:manifest:1:0:hang", "manifest", ""),
        ("write:metrics.jsonl:3:0:hang", "metrics.jsonl", ""),
        ("sync:last.safetensors:2:0:hang", "last.safetensors", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (name, run) = (format!("run{number}"), format!("{run} {flags}"));
        let hung = with_faults(
            &bench,
            faults,
            &format!("{run} --stall-timeout 1 --output {name}"),
        );
        assert_eq!(hung.status, 1, "{faults}: {}", hung.stderr);
        let said = errors(&hung);
        let sentence = "error: the disk has not answered for 1 s: the run waits for it to ";
        assert!(said.starts_with(sentence), "{faults}: {said}");
        assert_eq!(said.lines().count(), 1, "{faults}: {said}");
        assert!(said.contains(file), "{faults}: {said}");
        goes_on(&bench, &run, &name, faults);
    }
}

#[test]
fn a_read_only_file_system_is_refused_at_the_start_on_all_ranks() {
    let bench = Bench::new();
    let run = format!("train {} {RUN}", bench.tiny_data()).replace("--stages 2", "--stages 3");
    let stopped = stagger(
        &bench,
        RANKS,
        &format!("{run} --output run --max-batches 12"),
    );
    assert_eq!(stopped.status, 0, "{}", stopped.stderr);
    is_refused(&bench, &run, |words| stagger(&bench, RANKS, words));
}

#[test]
fn a_file_system_of_rank_0_that_turns_read_only_ends_all_ranks_and_costs_no_work() {
    let (bench, run) = three_stages();
    for calls in CALLS {
        let name = format!("run{calls}");
        let faults = format!("change:{name}/:{calls}:0:EROFS");
        let failed = with_faults(&bench, &faults, &format!("{run} --output {name}"));
        ends_in_a_sentence(&failed, calls);
        goes_on(&bench, &run, &name, &faults);
    }
}
