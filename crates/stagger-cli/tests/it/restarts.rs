//! The same command again: what a process has left that was killed, or has ended, and what the user has removed.

use std::fs;

use crate::support::{Bench, Output};

/// Three batches per epoch, rates that do not depend on the length, nothing in flight at the end of a run.
const RUN: &str = "--augment false --schedule bp --stages 2 --batch-size 8 --keep-snapshots 30 --calibration-batches 0 --lr 0.05 \
                   --lr-schedule constant --warmup-batches 0";

fn succeeds(output: &Output) -> &str {
    assert_eq!(output.status, 0, "{} {}", output.stdout, output.stderr);
    &output.stdout
}

fn refused(output: &Output) -> &str {
    assert_eq!(output.status, 2, "{} {}", output.stdout, output.stderr);
    assert_eq!(output.stdout, "");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    &output.stderr
}

/// A run that ended inside an epoch goes on, and its process ends before there is another snapshot: the one at the former end still
/// serves, though the line of the short epoch is gone.
#[test]
fn a_continuation_that_dies_at_once_costs_nothing() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for (number, more) in ["", "--evaluate false"].iter().enumerate() {
        let (whole, run) = (format!("whole{number}"), format!("run{number}"));
        let train = format!("train {data} {RUN} --epochs 4 {more}");
        succeeds(&bench.stagger(&format!("{train} --max-batches 10 --output {whole}")));
        succeeds(&bench.stagger(&format!("{train} --max-batches 4 --output {run}")));
        let diverged = bench.stagger(&format!("train --resume {run} --max-batches 10 --lr 1e30"));
        assert_eq!(diverged.status, 1, "{}", diverged.stderr);
        let again = bench.stagger(&format!("train --resume {run} --max-batches 10 --lr 0.05"));
        assert!(
            succeeds(&again).contains("resumed at version 4 of 10"),
            "{}",
            again.stdout
        );
        assert_eq!(bench.losses(&run), bench.losses(&whole));
        assert!(bench.weights(&run) == bench.weights(&whole));
    }
}

/// The line of an epoch that the end cut short is under a checksum, too.
#[test]
fn a_changed_line_of_a_short_epoch_is_noticed() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(&bench.stagger(&format!(
        "train {data} {RUN} --epochs 4 --max-batches 5 --output run"
    )));
    let file = bench.path("run/metrics.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let at = text.rfind("\"train_loss\":").unwrap() + "\"train_loss\":".len();
    let changed = format!("{}9{}", &text[..at], &text[at + 1..]);
    assert_ne!(changed, text);
    fs::write(&file, changed).unwrap();
    let again = bench.stagger("train --resume run --max-batches 10");
    let said = again.stdout.clone() + &again.stderr;
    assert!(said.contains("v00000005 is left out"), "{said}");
}

/// The best evaluation may be the one at a former end inside an epoch, of which `metrics.jsonl` has no line any more.
#[test]
fn a_finished_run_keeps_the_best_weights_of_a_former_end() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let shown = (1..=24).any(|seed| {
        let run = format!("run{seed}");
        let train = format!("train {data} {RUN} --epochs 12 --seed {seed}");
        succeeds(&bench.stagger(&format!("{train} --max-batches 17 --output {run}")));
        // What is learned from here on is worse.
        succeeds(&bench.stagger(&format!("train --resume {run} --max-batches 24 --lr 100")));
        let best = bench.path(&run).join("best.safetensors");
        let before = fs::read(&best).unwrap();
        let again = bench.stagger(&format!("train --resume {run}"));
        assert!(
            succeeds(&again).contains("nothing is left to do"),
            "{}",
            again.stdout
        );
        assert!(
            fs::read(&best).is_ok_and(|after| after == before),
            "{seed}: {}",
            again.stdout
        );
        let weights = stagger::report::read_weights(&best).unwrap();
        if weights.metadata["version"] != "17" {
            return false;
        }
        // Without the file, and with one of another version, the resume writes that one again, and says so.
        fs::remove_file(&best).unwrap();
        let eval = bench.stagger(&format!("eval --run {run}"));
        let anew = "writes it anew from the snapshot of version 17";
        assert!(refused(&eval).contains(anew), "{}", eval.stderr);
        let resume = format!("train --resume {run}");
        succeeds(&bench.stagger(&resume));
        fs::copy(bench.path(&run).join("last.safetensors"), &best).unwrap();
        let again = bench.stagger(&resume);
        let said =
            "best.safetensors is not that of version 17, the best: it makes way for that one\n";
        assert!(succeeds(&again).contains(said), "{}", again.stdout);
        assert!(fs::read(&best).is_ok_and(|after| after == before));
        true
    });
    assert!(shown, "no run was best at its former end");
}

#[test]
fn a_run_whose_snapshots_were_removed_is_not_trained_again() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let train = format!("train {data} {RUN} --epochs 2 --output run");
    succeeds(&bench.stagger(&train));
    fs::remove_dir_all(bench.path("run/snapshots")).unwrap();
    let metrics = fs::read(bench.path("run/metrics.jsonl")).unwrap();
    for again in [
        format!("{train} --resume auto"),
        "train --resume run".to_owned(),
    ] {
        let again = bench.stagger(&again);
        let said = "run has been trained, and its snapshots are gone; to train on, start a new run, with --resume-weights run for its last weights";
        assert!(refused(&again).contains(said), "{}", again.stderr);
        assert!(fs::read(bench.path("run/metrics.jsonl")).unwrap() == metrics);
    }
    succeeds(&bench.stagger(&format!(
        "train {data} {RUN} --epochs 2 --output next --resume-weights run"
    )));
}

/// A run that is resumed without snapshots ends with weights that are later than its newest snapshot.
#[test]
fn weights_behind_the_last_snapshot_are_taken() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(&bench.stagger(&format!("train {data} {RUN} --epochs 2 --output run")));
    succeeds(&bench.stagger("train --resume run --epochs 4 --keep-snapshots 0"));
    let next = |name: &str, from: &str| {
        let train = format!(
            "train {data} {RUN} --lr 1e-9 --max-batches 1 --output {name} --resume-weights {from}"
        );
        let output = bench.stagger(&train);
        succeeds(&output);
        (output.stdout, bench.losses(name))
    };
    let (said, losses) = next("next", "run");
    assert!(said.contains("is later than the newest snapshot"), "{said}");
    assert_eq!(losses, next("same", "run/last.safetensors").1);
}

#[test]
fn the_newest_unfinished_run_is_the_one_that_was_written_last() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let train = format!("train {data} {RUN} --epochs 20");
    let older = bench.stagger(&format!(
        "{train} --max-batches 60 --output runs/z --max-seconds 0.0001"
    ));
    succeeds(&older);
    let newer = bench.stagger(&format!(
        "{train} --max-batches 60 --output runs/a --max-seconds 0.0001"
    ));
    succeeds(&newer);
    // It cannot be resumed.
    let without = bench.stagger(&format!(
        "{train} --output runs/b --keep-snapshots 0 --max-seconds 0.0001"
    ));
    succeeds(&without);
    // Another process is at work in it.
    let held = stagger::report::RunFolder::reopen(&bench.path("runs/a")).unwrap();
    let other = bench.stagger(&format!("{train} --max-batches 60 --resume auto"));
    assert!(
        succeeds(&other).contains("run folder: runs/z"),
        "{}",
        other.stdout
    );
    drop(held);
    let again = bench.stagger(&format!("{train} --max-batches 60 --resume auto"));
    assert!(
        succeeds(&again).contains("run folder: runs/a"),
        "{}",
        again.stdout
    );
}

/// A process that was killed while it wrote what was asked for leaves a beginning, which is no reason to refuse the same command.
#[test]
fn a_series_begins_anew_behind_a_beginning() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!("{data} --batch-size 8 --max-batches 2 --evaluate false");
    for (command, file) in [
        (
            format!("compare bp dsp {flags} --output cmp"),
            "cmp/.compare.toml.partial",
        ),
        (
            format!("sweep {flags} --over seed=1,2 --output=-s"),
            "-s/.sweep.toml.partial",
        ),
    ] {
        let file = bench.path(file);
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, "methods = [").unwrap();
        succeeds(&bench.stagger(&command));
        assert!(!file.exists());
    }
    // What is somebody else's stays.
    fs::create_dir(bench.path("mine")).unwrap();
    fs::write(bench.path("mine/.compare.toml.partial"), "").unwrap();
    fs::write(bench.path("mine/a.txt"), "mine").unwrap();
    refused(&bench.stagger(&format!("compare bp dsp {flags} --output mine")));
    assert!(bench.path("mine/.compare.toml.partial").exists());
}

/// A command with a trace can be given again, and the trace of before stays.
#[test]
fn a_run_that_is_resumed_writes_its_trace_beside_the_one_before() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let train =
        format!("train {data} {RUN} --epochs 4 --output run --resume auto --trace trace.json");
    succeeds(&bench.stagger(&format!("{train} --max-batches 6")));
    let first = fs::read(bench.path("trace.json")).unwrap();
    succeeds(&bench.stagger(&format!("{train} --max-batches 9")));
    assert!(fs::read(bench.path("trace.json")).unwrap() == first);
    assert!(bench.path("trace-2.json").exists());
}

#[test]
fn commands_in_refusals_are_quoted_for_a_shell() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for (name, quoted) in [("a b", "'a b'"), ("-dash", "./-dash"), ("$(x)", "'$(x)'")] {
        let output = format!("--output={name}");
        let train = format!("train {data} {RUN} --epochs 1");
        let words: Vec<&str> = train.split_whitespace().chain([output.as_str()]).collect();
        succeeds(&bench.stagger_words(&words));
        let resume = format!("--resume={name}");
        let refusal = bench.stagger_words(&["train", &resume, "--lr", "3"]);
        let said = format!("start a new one with --resume-weights {quoted}\n");
        assert!(refused(&refusal).ends_with(&said), "{}", refusal.stderr);
    }
    for command in [
        "train",
        "compare bp dsp --output series",
        "sweep --over seed=1,2 --output series",
    ] {
        let unkept = bench.stagger(&format!("{command} --keep-snapshots 0 --snapshot-every 10"));
        let said = "--snapshot-every does nothing with --keep-snapshots 0; ";
        assert!(refused(&unkept).contains(said), "{}", unkept.stderr);
        assert!(!bench.path("series").exists());
    }
    // Another way to say the same folder.
    fs::rename(bench.path("a b"), bench.path("run")).unwrap();
    succeeds(&bench.stagger("train --resume run --output ./run"));
}

/// What a resumed run does not do, though it was asked to, is said.
#[test]
fn what_a_resumed_run_leaves_out_is_said() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(&bench.stagger(&format!("train {data} {RUN} --epochs 2 --output run")));
    let left_out =
        "the calibration is left out: a run is timed beside backpropagation where it starts";
    let longer = bench.stagger("train --resume run --epochs 3 --calibration-batches 20");
    assert!(succeeds(&longer).contains(left_out), "{}", longer.stdout);
    // As the command of before has it.
    let longer = bench.stagger("train --resume run --epochs 4 --calibration-batches 0");
    assert!(!succeeds(&longer).contains(left_out), "{}", longer.stdout);
    let finished = bench.stagger("train --resume run --trace trace.json --profile-ops");
    assert!(
        succeeds(&finished).contains("run: finished at version 12; nothing is left to do"),
        "{}",
        finished.stdout
    );
    let said = "nothing has been trained, so nothing came of --trace, --profile-ops\n";
    assert_eq!(finished.stderr, said);
    assert!(!bench.path("trace.json").exists());
}

/// A config that a full disk has left empty is no config of a run with all defaults.
#[test]
fn an_empty_config_is_told() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(&bench.stagger(&format!("train {data} {RUN} --epochs 1 --output run")));
    for text in ["", "\n"] {
        fs::write(bench.path("run/config.toml"), text).unwrap();
        for command in ["train --resume run", "eval --run run"] {
            let output = bench.stagger(command);
            let said = "run/config.toml: it is empty, and the config of a run is not";
            assert!(refused(&output).contains(said), "{}", output.stderr);
        }
    }
}

/// What a process has left that was killed while it wrote goes with the next start, also where nothing is left to do.
#[test]
fn beginnings_are_removed_from_a_finished_run() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(&bench.stagger(&format!("train {data} {RUN} --epochs 2 --output run")));
    let left = [
        "run/.last.safetensors.partial",
        "run/snapshots/.v00000006.manifest.partial",
        "run/snapshots/.v00000009.partial",
    ];
    for path in &left[..2] {
        fs::write(bench.path(path), "{").unwrap();
    }
    fs::create_dir(bench.path(left[2])).unwrap();
    fs::write(bench.path("run/mine.partial"), "mine").unwrap();
    succeeds(&bench.stagger("train --resume run"));
    for path in left {
        assert!(!bench.path(path).exists(), "{path}");
    }
    assert!(bench.path("run/mine.partial").exists());
}

/// A run in the way of the newest one is told, and not passed over, when its config is no file.
#[test]
fn the_newest_run_is_not_passed_over_for_what_it_lacks() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for run in ["older", "newer"] {
        let train =
            format!("train {data} {RUN} --epochs 4 --max-seconds 0.001 --output runs/{run}");
        fs::create_dir_all(bench.path("runs")).unwrap();
        succeeds(&bench.stagger(&train));
    }
    let config = bench.path("runs/newer/config.toml");
    fs::remove_file(&config).unwrap();
    let without = bench.stagger("train --resume auto");
    assert!(
        refused(&without).contains("runs/newer"),
        "{}",
        without.stderr
    );
    std::os::unix::fs::symlink("nowhere", &config).unwrap();
    let dangling = bench.stagger("train --resume auto");
    assert!(
        refused(&dangling).contains("runs/newer"),
        "{}",
        dangling.stderr
    );
}

/// A rate above all numbers would be no number in the metrics.
#[test]
fn rates_are_finite() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let rates = "--lr 1e200 --lr-schedule step --lr-steps 0 --lr-gamma 1e200 --warmup-batches 0";
    let output = bench.stagger(&format!("train {data} --output run {rates}"));
    assert!(
        refused(&output).starts_with("error: --lr-gamma "),
        "{}",
        output.stderr
    );
}
