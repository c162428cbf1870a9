//! What is said of files and folders that cannot be read as a whole, and of results that cannot be written.

use std::fs;

use crate::support::Bench;

/// Replaces a part of a file that has it.
fn replace(bench: &Bench, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(bench.path(file)).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(bench.path(file), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_a_page_lacks_is_said_on_the_terminal() {
    let bench = Bench::new();
    bench.train("run", "--evaluate false --trace t.json");
    fs::rename(bench.path("t.json"), bench.path("run/trace.json")).unwrap();
    let report = |flags: &str| {
        let output = bench.stagger(&format!("report run {flags} --output page.html"));
        let page = fs::read_to_string(bench.path("page.html")).unwrap_or_default();
        let _ = fs::remove_file(bench.path("page.html"));
        (output, page)
    };
    let (whole, page) = report("--trace-batches 1-2");
    assert_eq!((whole.status, whole.stderr.as_str()), (0, ""));
    assert!(page.contains("drawn is the time of 1 to 2"));
    for (flags, expected) in [
        (
            "--trace-batches 9-99",
            "error: --trace-batches: run/trace.json is no trace that a timeline can be drawn from: it has batches 0 to 3, and none of 9 to 99\n",
        ),
        (
            "--mistakes 101",
            "error: --mistakes is 101; give at most 100, which is what a page shows of a run\n",
        ),
    ] {
        let (refused, page) = report(flags);
        assert_eq!((refused.status, refused.stderr.as_str()), (2, expected));
        assert_eq!(page, "", "{flags}");
    }

    fs::write(bench.path("run/trace.json"), "{}").unwrap();
    fs::write(bench.path("run/environment.json"), "{").unwrap();
    replace(&bench, "run/metrics.jsonl", "\"kind\":\"end\"", "\"kind\"");
    let (damaged, page) = report("");
    assert_eq!(damaged.status, 0, "{}", damaged.stderr);
    let lines: Vec<&str> = damaged.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", damaged.stderr);
    let metrics = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let line = metrics.lines().count();
    let of_metrics =
        format!("metrics.jsonl is read up to line {line}, which is no record: expected `:`");
    assert!(
        lines[0].starts_with(&format!("run: {of_metrics}")),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("; the rest is not read"), "{}", lines[0]);
    let of_environment = "the page lacks host and build: could not read run/environment.json: ";
    assert!(lines[1].starts_with(of_environment), "{}", lines[1]);
    assert!(
        lines[2].starts_with("run/trace.json is no trace"),
        "{}",
        lines[2]
    );
    assert!(page.contains("unknown: could not read run/environment.json"));
    assert!(!page.contains("no record: no record"));
    let inspected = bench.stagger("inspect run").stdout;
    assert!(inspected.contains(&of_metrics), "{inspected}");
    let (refused, page) = report("--trace-batches 1-2");
    assert_eq!((refused.status, page.as_str()), (2, ""));

    fs::write(bench.path("run/metrics.jsonl"), "").unwrap();
    let empty = bench.stagger("inspect run").stdout;
    assert!(
        empty.contains("which is no record: the file is empty"),
        "{empty}"
    );
    fs::remove_file(bench.path("run/metrics.jsonl")).unwrap();
    let gone = bench.stagger("inspect run").stdout;
    assert!(gone.contains("\nmetrics.jsonl is not there\n"), "{gone}");
}

#[test]
fn best_weights_that_are_gone_are_not_weights_that_never_were() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    bench.train("untested", &format!("{data} --evaluate false"));
    let refused = |run: &str| {
        let output = bench.stagger(&format!("eval --run {run}"));
        assert_eq!(output.status, 2, "{}", output.stdout);
        output.stderr
    };
    assert_eq!(
        refused("untested"),
        "error: untested has no best.safetensors: the run ended before its first evaluation; use --weights last\n"
    );
    let best = stagger::report::read_weights(&bench.path("run/best.safetensors")).unwrap();
    let version = &best.metadata["version"];
    fs::remove_file(bench.path("run/best.safetensors")).unwrap();
    let expected = "error: run has no best.safetensors any more: the run has been evaluated, and the file is gone; ";
    assert_eq!(
        refused("run"),
        format!(
            "{expected}resume the run, which writes it anew from the snapshot of version {version}, or use --weights last\n"
        )
    );
    assert_eq!(bench.stagger("train --resume run").status, 0);
    assert_eq!(bench.stagger("eval --run run").status, 0);
    fs::remove_file(bench.path("run/best.safetensors")).unwrap();
    fs::remove_dir_all(bench.path("run/snapshots")).unwrap();
    assert_eq!(
        refused("run"),
        format!(
            "{expected}take it from a copy of the run, as there is no snapshot of its version to write it anew from, or use --weights last\n"
        )
    );
}

/// The file is written anew from the snapshot of its own version, which may be gone while newer ones are there.
#[test]
fn best_weights_come_from_the_snapshot_of_their_version() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let is_shown = (1..=12).any(|seed| {
        let run = format!("run{seed}");
        let train = format!(
            "train {data} --schedule bp --stages 2 --batch-size 8 --calibration-batches 0 --keep-snapshots 30 --on-nan rollback --epochs 5 \
             --lr 0.2 --lr-schedule constant --warmup-batches 0 --seed {seed} --output {run}"
        );
        assert_eq!(bench.stagger(&train).status, 0);
        let best = stagger::report::read_weights(&bench.path(&run).join("best.safetensors")).unwrap();
        let version: usize = best.metadata["version"].parse().unwrap();
        if version == 15 {
            return false;
        }
        let gone = |expected: &str| {
            fs::remove_file(bench.path(&format!("{run}/best.safetensors"))).unwrap();
            let eval = bench.stagger(&format!("eval --run {run}"));
            assert!(eval.stderr.contains(expected), "{}", eval.stderr);
        };
        gone(&format!("writes it anew from the snapshot of version {version}"));
        assert_eq!(bench.stagger(&format!("train --resume {run}")).status, 0);
        assert_eq!(bench.stagger(&format!("eval --run {run}")).status, 0);
        fs::remove_dir_all(bench.path(&format!("{run}/snapshots/v{version:08}"))).unwrap();
        gone("there is no snapshot of its version to write it anew from");
        true
    });
    assert!(is_shown, "every run was best at its end");
}

/// The limit on the size of files stands for a disk that is full: a file can be made, and nothing written to it.
#[cfg(unix)]
#[test]
fn results_that_cannot_be_written_are_failures_of_the_run() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    for arguments in [
        "report run --output page.html",
        "weights run w.safetensors",
        "eval --run run --confusion c.csv",
        "simulate dsp -k 2 --batches 8 --trace t.json",
    ] {
        let line = format!("ulimit -f 0; exec {} {arguments}", binary.display());
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(&bench.folder)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {stderr}");
        assert!(stderr.contains("could not write "), "{arguments}: {stderr}");
    }
    let nowhere = bench.stagger("weights run no/w.safetensors");
    assert_eq!(nowhere.status, 2, "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("its folder is not there"),
        "{}",
        nowhere.stderr
    );
}
