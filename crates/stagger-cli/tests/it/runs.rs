//! Runs that succeed, and runs that start and fail.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use stagger::report::Record;

use crate::support::Bench;

#[test]
fn a_run_leaves_what_the_readme_says_and_eval_agrees() {
    let bench = Bench::new();
    let run = bench.train("run", "");
    for file in [
        "config.toml",
        "environment.json",
        "run.log",
        "metrics.jsonl",
        "last.safetensors",
        "best.safetensors",
    ] {
        assert!(bench.path("run").join(file).is_file(), "{file}");
    }
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("epoch 1/1"))
        .expect("an epoch line");
    let accuracy = line
        .split(" · ")
        .find(|part| part.starts_with("test"))
        .expect("an accuracy");
    for weights in ["best", "last"] {
        let eval = bench.stagger(&format!("eval --run run --weights {weights}"));
        assert_eq!(eval.status, 0, "{}", eval.stderr);
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed(&eval.stdout).contains(&squeezed(accuracy)),
            "{accuracy} {}",
            eval.stdout
        );
    }
    let metrics = bench.metrics("run");
    assert!(matches!(metrics.first(), Some(Record::Run(_))));
    assert_eq!(bench.losses("run").len(), 4);
    let Some(Record::End(end)) = metrics.last() else {
        panic!("no end")
    };
    assert_eq!(
        (end.version, end.interrupted, &end.error),
        (4, false, &None)
    );
    let Some(Record::Epoch(epoch)) = metrics.iter().rev().nth(1) else {
        panic!("no epoch")
    };
    assert_eq!(
        epoch
            .stages
            .iter()
            .map(|stage| stage.staleness_max)
            .collect::<Vec<_>>(),
        [2, 0]
    );
}

#[test]
fn the_config_of_a_run_repeats_it_to_the_bit() {
    let bench = Bench::new();
    bench.train(
        "first",
        "--seed 5 --opt adamw --wd 0.01 --label-smoothing 0.1 --clip-norm 1",
    );
    let repeated = bench.stagger("train --config first/config.toml --output second");
    assert_eq!(repeated.status, 0, "{}", repeated.stderr);
    assert_eq!(bench.weights("first"), bench.weights("second"));
    assert_eq!(bench.losses("first"), bench.losses("second"));
    bench.train(
        "other",
        "--seed 6 --opt adamw --wd 0.01 --label-smoothing 0.1 --clip-norm 1",
    );
    assert_ne!(bench.losses("first"), bench.losses("other"));
}

/// As a flag at the end of a script's own overrides what the script says, so does a list.
#[test]
fn the_last_of_repeated_flags_counts() {
    let bench = Bench::new();
    bench.train(
        "run",
        "--lr-schedule step --lr-steps 1,2 --lr-steps 3 --replicas 2,2 --replicas 1,2 --engines cpu --engines cpu,cpu --seed 1 --seed 2",
    );
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    for line in [
        "lr-steps = [3]",
        "replicas = [1, 2]",
        "engine = \"cpu\"",
        "seed = 2",
    ] {
        assert!(
            config.lines().any(|found| found == line),
            "{line}: {config}"
        );
    }
}

/// Up to eight stages on however many cores: the same numbers.
#[test]
fn eight_stages_give_the_numbers_of_one() {
    let bench = Bench::new();
    let deep = "--model resnet20 --max-batches 2";
    bench.train("one", &format!("{deep} --schedule bp --stages 1"));
    bench.train("eight", &format!("{deep} --schedule bp --stages 8"));
    assert_eq!(bench.weights("one"), bench.weights("eight"));
    let dsp = format!("{deep} --max-batches 4 --schedule dsp --stages 8 --balance uniform");
    bench.train("dsp", &dsp);
    bench.train("again", &dsp);
    assert_eq!(bench.weights("dsp"), bench.weights("again"));
}

/// 20 samples in batches of 8.
#[test]
fn a_last_smaller_batch_trains() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let epochs = |extra: &str, run: &str| {
        bench.train(run, &format!("{data} --max-batches 99 --epochs 2 {extra}"));
        let samples = |record: &Record| match record {
            Record::Batch(batch) => Some(batch.samples),
            _ => None,
        };
        bench
            .metrics(run)
            .iter()
            .filter_map(samples)
            .collect::<Vec<_>>()
    };
    assert_eq!(epochs("", "whole"), [8, 8, 4, 8, 8, 4]);
    assert_eq!(epochs("--drop-last", "dropped"), [8, 8, 8, 8]);
}

/// ResNet-20 has all of ResNet-8's tensors, and more.
#[test]
fn eval_refuses_the_weights_of_another_model() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("small", &data);
    bench.train("large", &format!("{data} --model resnet20"));
    for (run, weights, expected) in [
        ("small", "large", "tensors are not of this model"),
        ("large", "small", "tensors are missing"),
    ] {
        let eval = bench.stagger(&format!(
            "eval --run {run} --weights {weights}/last.safetensors"
        ));
        assert_eq!(eval.status, 2, "{}", eval.stdout);
        assert!(eval.stderr.contains(expected), "{}", eval.stderr);
    }
}

#[test]
fn a_diverging_run_names_stage_and_batch() {
    let bench = Bench::new();
    let run = bench.stagger(
        "train --batch-size 8 --max-batches 50 --calibration-batches 0 --lr 1e30 --warmup-batches 0 \
         --schedule bp --output run",
    );
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr
            .starts_with("error: stage 1 failed in the forward of batch "),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("lower the learning rate"),
        "{}",
        run.stderr
    );
    let Some(Record::End(end)) = bench.metrics("run").pop() else {
        panic!("no end")
    };
    assert!(end.error.is_some());
    assert!(
        fs::read_to_string(bench.path("run/run.log"))
            .unwrap()
            .contains("training diverged")
    );
}

/// A disk of 256 KiB holds the config but not the weights.
#[test]
fn a_full_disk_is_one_sentence() {
    let bench = Bench::new();
    fs::create_dir(bench.path("small")).unwrap();
    let disk = bench.path("small");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&disk)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        let _ = writeln!(io::stderr(), "skipped: a small disk cannot be mounted here");
        return;
    }
    let run = bench.stagger(
        "train --batch-size 8 --max-batches 2 --eval-batch-size 250 --calibration-batches 0 \
         --output small/run",
    );
    let left = fs::read_dir(disk.join("run")).map(|entries| {
        entries
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect::<Vec<_>>()
    });
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(run.status, 1, "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("No space left on device"),
        "{}",
        run.stderr
    );
    let partial = |name: &std::ffi::OsString| name.to_string_lossy().contains("safetensors");
    assert!(
        !left.unwrap().iter().any(partial),
        "half a file was left behind"
    );
}

#[test]
fn a_run_over_bytes_is_the_run_over_threads_unless_they_are_halved() {
    let bench = Bench::new();
    bench.train("threads", "--schedule dsp --stages 3");
    bench.train("bytes", "--schedule dsp --stages 3 --transport bytes");
    bench.train(
        "halves",
        "--schedule dsp --stages 3 --transport bytes --wire-dtype bf16",
    );
    assert!(bench.weights("threads") == bench.weights("bytes"));
    assert_eq!(bench.losses("threads"), bench.losses("bytes"));
    assert!(bench.weights("threads") != bench.weights("halves"));
    let losses = bench
        .losses("threads")
        .into_iter()
        .zip(bench.losses("halves"));
    for (whole, halved) in losses {
        assert!(
            (whole - halved).abs() < 0.05 * whole,
            "{whole} and {halved}"
        );
    }
}

#[test]
fn a_calibration_that_was_asked_for_is_not_left_out_in_silence() {
    let bench = Bench::new();
    let short = "train --dataset shapes --model resnet8 --schedule dsp --stages 2 --batch-size 8 --max-batches 3 --evaluate false";
    let line = "no calibration: its first 8 batches are not timed, and the run has no more\n";
    for (flags, is_said) in [
        ("--calibration-batches 3", true),
        ("--calibration-batches 0", false),
        ("", false),
    ] {
        let output = bench.stagger(&format!("{short} {flags}"));
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert_eq!(
            output.stdout.contains(line),
            is_said,
            "{flags}: {}",
            output.stdout
        );
    }
}
