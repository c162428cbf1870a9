//! File systems that are read-only: from the start, or from the middle of a run on, as a disk with errors becomes.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use crate::disks::{RUN, bench, is_as_unbroken, with_faults};
use crate::support::{Bench, Output};

/// A run folder on a read-only file system of its own, until it is dropped.
pub struct ReadOnly<'a> {
    bench: &'a Bench,
}

impl<'a> ReadOnly<'a> {
    /// Mounts one at `fixed`, with the run folder `run` as it is in the bench; says so where that is not possible.
    pub fn mount(bench: &'a Bench) -> Option<Self> {
        let folder = bench.path("fixed");
        fs::create_dir(&folder).unwrap();
        let mount = |options: &[&str]| {
            let mut mount = Command::new("mount");
            let done = mount.args(options).arg(&folder).output();
            done.is_ok_and(|output| output.status.success())
        };
        if !mount(&["-t", "tmpfs", "tmpfs"]) {
            let _ = writeln!(io::stderr(), "skipped: no file system can be mounted here");
            return None;
        }
        let mounted = Self { bench };
        let copied = Command::new("cp")
            .args(["-r", "run", "fixed/run"])
            .current_dir(&bench.folder)
            .status();
        assert!(copied.is_ok_and(|status| status.success()));
        assert!(mount(&["-o", "remount,ro"]));
        Some(mounted)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg(self.bench.path("fixed"))
            .status();
    }
}

/// Runs commands on it, each of which is refused in one sentence before it trains.
pub fn is_refused(bench: &Bench, run: &str, stagger: impl Fn(&str) -> Output) {
    let Some(_mounted) = ReadOnly::mount(bench) else {
        return;
    };
    for words in [
        format!("{run} --output fixed/new"),
        format!("{run} --output fixed/new --resume auto"),
        format!("{run} --output fixed/run --resume auto"),
        "train --resume fixed/run".to_owned(),
    ] {
        let refused = stagger(&words);
        let said = errors(&refused);
        assert_eq!(refused.status, 2, "{words}: {} {}", refused.stdout, said);
        assert_eq!(said.lines().count(), 1, "{words}: {said}");
        assert!(said.contains("fixed/"), "{words}: {said}");
        let advice = "Read-only file system (os error 30); make it writable, or choose another place with --output";
        assert!(said.contains(advice), "{words}: {said}");
        assert!(!bench.path("fixed/new").exists(), "{words}");
    }
}

/// What stagger has said of errors, without what a launcher adds.
pub fn errors(output: &Output) -> String {
    let is_error = |line: &&str| line.starts_with("error: ") || line.contains("panicked");
    let lines: Vec<&str> = output.stderr.lines().filter(is_error).collect();
    lines.join("\n")
}

/// Files turn read-only after so many calls that change them. A whole run makes 200 to 350: the slower its writer, the more it finds
/// to write at once.
pub const CALLS: [usize; 6] = [30, 60, 90, 120, 150, 170];

/// Ends of a run whose file system becomes read-only after so many calls: one sentence, and what was written before is kept.
pub fn ends_in_a_sentence(failed: &Output, calls: usize) {
    let said = errors(failed);
    assert_eq!(failed.status, 1, "{calls}: {} {said}", failed.stdout);
    assert_eq!(said.lines().count(), 1, "{calls}: {said}");
    assert!(said.contains("Read-only file system"), "{calls}: {said}");
}

#[test]
fn a_read_only_file_system_is_refused_at_the_start() {
    let bench = Bench::new();
    let run = format!("train {} {RUN}", bench.tiny_data());
    let stopped = bench.stagger(&format!("{run} --output run --max-batches 12"));
    assert_eq!(stopped.status, 0, "{}", stopped.stderr);
    is_refused(&bench, &run, |words| bench.stagger(words));
    // As it is there, it goes on.
    let resumed = bench.stagger("train --resume run --epochs 8 --max-batches 24");
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
}

#[test]
fn a_file_system_that_turns_read_only_costs_no_work() {
    let (bench, run) = bench();
    for calls in CALLS {
        let name = format!("run{calls}");
        let faults = format!("change:{name}/:{calls}:0:EROFS");
        let failed = with_faults(&bench, &faults, &format!("{run} --output {name}"));
        ends_in_a_sentence(&failed, calls);
        let snapshots = fs::read_dir(bench.path(&format!("{name}/snapshots")));
        let names = snapshots.into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().into_encoded_bytes());
        let has_snapshot = names.any(|name| name.starts_with(b"v"));
        let resumed = bench.stagger(&format!("{run} --resume auto --output {name}"));
        assert_eq!(resumed.status, 0, "{calls}: {}", resumed.stderr);
        // The first fails before any snapshot. All may have been trained when the last fails.
        let kept = ["resumed at version ", "finished at version "];
        let is_kept = kept.iter().any(|words| resumed.stdout.contains(words));
        assert!(is_kept || !has_snapshot, "{calls}: {}", resumed.stdout);
        assert!(has_snapshot || calls <= CALLS[1], "{calls}");
        is_as_unbroken(&bench, &name, &faults);
    }
}
