//! Outputs that cannot be written, and limits of the system that would end a process without a word.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::process::{Command, Stdio};

use image::GrayImage;
use stagger::report::Record;

use crate::support::{Bench, Output};

const TRAIN: &str =
    "train --batch-size 8 --max-batches 4 --eval-batch-size 250 --calibration-batches 0 --lr 0.01";

/// Runs a line of a shell, in which `STAGGER` stands for the binary.
fn shell(bench: &Bench, line: &str) -> Output {
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    let output = Command::new("sh")
        .args([
            "-c",
            &line.replace("STAGGER", &binary.display().to_string()),
        ])
        .current_dir(&bench.folder)
        .output()
        .expect("a shell");
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A run and a folder of pictures, and a command of each kind that prints.
fn commands(bench: &Bench) -> Vec<String> {
    let data = bench.tiny_data();
    bench.train("run", &data);
    for name in [
        "train/a/1",
        "train/a/2",
        "train/b/1",
        "train/b/2",
        "val/a/3",
        "val/b/3",
    ] {
        let path = bench.path(&format!("d/{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::new(32, 32).save(path).unwrap();
    }
    [
        "--help",
        "--version",
        "train --help",
        "explain dsp",
        "summary resnet8",
        "inspect run",
        "eval --run run --per-class",
        "predict --run run d/val",
        "predict --run run d/val --csv",
        "predict --run run d/val --json",
        "weights run out.safetensors",
        "data inspect d",
        "data inspect d --json",
        "bench --batches 1 --warmup 0 --batch-size 2",
    ]
    .map(str::to_owned)
    .to_vec()
}

const FULL: &str = "could not write to the standard output: No space left on device (os error 28); \
                    free some space where it goes to, or send it elsewhere\n";

/// What a command prints is what it is for: where that is lost, it has failed, and says why where it can.
#[test]
fn a_full_output_is_a_failure() {
    let bench = Bench::new();
    for command in commands(&bench) {
        let full = shell(&bench, &format!("exec STAGGER {command} >/dev/full"));
        assert_eq!(full.status, 1, "{command}: {}", full.stderr);
        assert_eq!(full.stderr, format!("error: {FULL}"), "{command}");
        let _ = fs::remove_file(bench.path("out.safetensors"));
        let both = shell(&bench, &format!("exec STAGGER {command} >/dev/full 2>&1"));
        assert_eq!(both.status, 1, "{command}");
        let _ = fs::remove_file(bench.path("out.safetensors"));
    }
    // A wrong request stays one.
    let wrong = shell(&bench, "exec STAGGER train --model x 2>/dev/full");
    assert_eq!(wrong.status, 2);
    let wrong = shell(&bench, "exec STAGGER train --modell x 2>/dev/full");
    assert_eq!(wrong.status, 2);
}

/// Training and comparisons keep their work: they come to their end, and say then that lines were lost.
#[test]
fn a_full_output_costs_no_run() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("printed", &data);
    for (name, to) in [("one", ">/dev/full"), ("two", ">/dev/full 2>&1")] {
        let full = shell(
            &bench,
            &format!("exec STAGGER {TRAIN} {data} --output {name} {to}"),
        );
        assert_eq!(full.status, 1, "{}", full.stderr);
        if name == "one" {
            let expected = format!(
                "error: the run has come to its end, and only run.log has all of its lines: {FULL}"
            );
            assert_eq!(full.stderr, expected);
        }
        assert_eq!(bench.weights(name), bench.weights("printed"));
        let log = fs::read_to_string(bench.path(name).join("run.log")).unwrap();
        assert!(log.contains("done at version 4"), "{log}");
        assert!(
            matches!(bench.metrics(name).last(), Some(Record::End(end)) if end.error.is_none())
        );
    }
    let nothing_left = shell(&bench, "exec STAGGER train --resume one >/dev/full");
    assert_eq!(nothing_left.status, 1, "{}", nothing_left.stderr);

    let compare = format!("compare bp dsp {data} --batch-size 8 --max-batches 2 --lr 0.01");
    let full = shell(
        &bench,
        &format!("exec STAGGER {compare} --output out >/dev/full"),
    );
    assert_eq!(full.status, 1, "{}", full.stderr);
    assert!(full.stderr.ends_with(FULL), "{}", full.stderr);
    assert_eq!(full.stderr.lines().count(), 1, "{}", full.stderr);
    assert!(bench.path("out/report.html").exists());
}

/// A reader that has seen enough, as `head`, is no failure, and neither is a stream that was closed from the start.
#[test]
fn a_closed_output_is_no_failure() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let mut all = commands(&bench);
    all.push(format!("{TRAIN} {data} --output trained"));
    for command in all {
        for streams in [">&-", "<&-", ">&- 2>&- <&-"] {
            let closed = shell(&bench, &format!("exec STAGGER {command} {streams}"));
            assert_eq!(closed.status, 0, "{command} {streams}: {}", closed.stderr);
            assert_eq!(closed.stderr, "", "{command} {streams}");
            let _ = fs::remove_file(bench.path("out.safetensors"));
            let _ = fs::remove_dir_all(bench.path("trained"));
        }
        // Both outputs without a reader.
        let [out, err] = [0; 2].map(|_| {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            Stdio::from(writer)
        });
        let status = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
            .args(command.split_whitespace())
            .current_dir(&bench.folder)
            .stdout(out)
            .stderr(err)
            .status()
            .expect("the binary starts");
        assert_eq!(status.code(), Some(0), "{command}");
        let _ = fs::remove_file(bench.path("out.safetensors"));
    }
    assert!(bench.path("trained/last.safetensors").exists());
}

/// A limit on the size of files names the file, and is no signal that kills: the run goes on from its last snapshot.
#[test]
fn a_limit_on_the_size_of_files_is_told() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let advice = "File too large (os error 27); raise the limit on the size of files (ulimit -f)";
    // A few lines of metrics fit, and no more.
    let few = shell(
        &bench,
        &format!(
            "ulimit -f 16; exec STAGGER {TRAIN} --max-batches 200 --keep-snapshots 0 --output few"
        ),
    );
    assert_eq!(few.status, 1, "{}", few.stderr);
    assert_eq!(few.stderr.lines().count(), 1, "{}", few.stderr);
    assert!(few.stderr.contains("few/metrics.jsonl: "), "{}", few.stderr);
    assert!(few.stderr.contains(advice), "{}", few.stderr);

    // No snapshot fits.
    let flags = format!("{TRAIN} {data} --schedule bp --lr-schedule constant --warmup-batches 0");
    for (name, batches) in [("run", 4), ("planned", 8)] {
        let done = shell(
            &bench,
            &format!("exec STAGGER {flags} --max-batches {batches} --output {name}"),
        );
        assert_eq!(done.status, 0, "{}", done.stderr);
    }
    let longer = "exec STAGGER train --resume run --max-batches 8";
    let limited = shell(&bench, &format!("ulimit -f 100; {longer}"));
    assert_eq!(limited.status, 1, "{}", limited.stderr);
    assert_eq!(limited.stderr.lines().count(), 1, "{}", limited.stderr);
    assert!(limited.stderr.contains(advice), "{}", limited.stderr);
    let done = shell(&bench, longer);
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert_eq!(bench.weights("run"), bench.weights("planned"));

    // The output of a command may be such a file, too.
    File::create(bench.path("out.txt")).unwrap();
    let printed = shell(
        &bench,
        "ulimit -f 1; exec STAGGER explain dsp --batches 40 >out.txt",
    );
    assert_eq!(printed.status, 1, "{}", printed.stderr);
    assert!(
        printed
            .stderr
            .contains("the standard output: File too large"),
        "{}",
        printed.stderr
    );
}

/// The soft limit on processor time ends a run as Ctrl-C does, however often the system says so.
#[test]
fn a_limit_on_processor_time_keeps_the_work() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!("{TRAIN} {data} --epochs 1000000 --max-batches 3000000 --evaluate false");
    let limited = shell(
        &bench,
        &format!("ulimit -St 4; exec STAGGER {flags} --output run"),
    );
    assert_eq!(limited.status, 130, "{}", limited.stderr);
    let last = limited.stdout.lines().last();
    let expected = "resume with: stagger train --resume run";
    assert_eq!(last, Some(expected), "{}", limited.stdout);
    assert!(bench.path("run/last.safetensors").exists());

    // What keeps nothing says why it ends.
    let simulated = shell(
        &bench,
        "ulimit -St 1; exec STAGGER simulate dsp -k 1024 --batches 100000000",
    );
    assert_eq!(simulated.status, 1, "{}", simulated.stderr);
    let expected = "error: the limit on processor time is reached; raise it (ulimit -t)\n";
    assert_eq!(simulated.stderr, expected);
    assert_eq!(simulated.stdout, "");
}
