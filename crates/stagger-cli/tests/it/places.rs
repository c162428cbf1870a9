//! Where a run may put what it is asked to write: told before it trains, and nothing is left behind.

use std::fs;

use crate::support::Bench;

const RUN: &str = "--schedule bp --stages 2 --batch-size 8 --calibration-batches 0 --max-batches 4 --evaluate false";

fn refused(bench: &Bench, words: &str, expected: &str) {
    let output = bench.stagger(words);
    assert_eq!(output.status, 2, "{words}: {}", output.stdout);
    assert_eq!(output.stdout, "", "{words}");
    assert_eq!(
        output.stderr.lines().count(),
        1,
        "{words}: {}",
        output.stderr
    );
    assert!(
        output.stderr.contains(expected),
        "{words}: {}",
        output.stderr
    );
}

#[test]
fn a_new_run_is_refused_what_cannot_be_written() {
    let bench = Bench::new();
    let train = format!("train {} {RUN} --output run", bench.tiny_data());
    let (long, longer) = ("x".repeat(250), "x".repeat(256));
    let here = bench.path("");
    let here = here.to_str().unwrap();
    for (flags, expected) in [
        (
            "--trace run",
            "run is the name of what the run itself writes there",
        ),
        (
            "--trace ./run/../run",
            "cannot be written: its folder is not there",
        ),
        (
            "--trace run/",
            "run/ ends as the path of a folder does; name a file",
        ),
        (
            "--trace a/.",
            "a/. ends as the path of a folder does; name a file",
        ),
        (
            "--trace same --tensorboard ./same",
            "--trace and --tensorboard name one place",
        ),
        (&format!("--trace {long}"), "File name too long"),
        (&format!("--tensorboard {longer}"), "File name too long"),
        ("--trace /proc/trace.json", "/proc/trace.json"),
        ("--tensorboard /proc/events", "/proc/events"),
        (
            &format!("--trace {here}run/best.safetensors"),
            "is the name of what the run",
        ),
        (
            &format!("--tensorboard {here}run/snapshots"),
            "is the name of what the run",
        ),
    ] {
        refused(&bench, &format!("{train} {flags}"), expected);
        assert!(!bench.path("run").exists(), "{flags}");
    }
    let within = bench.stagger(&format!("{train} --trace {here}run/trace.json"));
    assert_eq!(within.status, 0, "{}", within.stderr);
    assert!(bench.path("run/trace.json").is_file());
}

/// The names of what runs write are theirs in every run folder, for every command.
#[test]
fn the_files_of_a_run_are_not_taken() {
    let bench = Bench::new();
    let trained = bench.stagger(&format!("train {} {RUN} --output run", bench.tiny_data()));
    assert_eq!(trained.status, 0, "{}", trained.stderr);
    let folder = bench.path("run");
    let folder = folder.to_str().unwrap();
    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = names(folder);
    let resume = "train --resume run --max-batches 8";
    for words in [
        format!("{resume} --trace run/best.safetensors"),
        format!("{resume} --trace {folder}/average.safetensors"),
        format!("{resume} --tensorboard run/snapshots"),
        format!("{resume} --tensorboard run/../run/test.json"),
        "report run --output run/best.safetensors".to_owned(),
        "simulate dsp --stages 2 --trace run/average.safetensors".to_owned(),
    ] {
        refused(
            &bench,
            &words,
            "is the name of what the run itself writes there",
        );
        assert_eq!(names(folder), before, "{words}");
    }
}
