//! Runs that a limit ended, or that were finished, and that go on.

use std::fs;

use stagger::report::Record;

use crate::support::{Bench, Output};

/// Rates that do not depend on the length of the run; three batches per epoch.
const CONSTANT: &str =
    "--batch-size 8 --calibration-batches 0 --lr 0.01 --lr-schedule constant --warmup-batches 0";

fn succeeds(output: &Output, expected: &str) {
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stdout.contains(expected), "{}", output.stdout);
}

/// The losses of all batches, and the accuracy after each epoch.
fn numbers(bench: &Bench, run: &str) -> Vec<String> {
    let of = |record: &Record| match record {
        Record::Batch(batch) => Some(format!("{} {} {}", batch.batch, batch.lr, batch.loss)),
        Record::Epoch(epoch) => Some(format!("{:?} {:?}", epoch.train_loss, epoch.test_top1)),
        _ => None,
    };
    bench.metrics(run).iter().filter_map(of).collect()
}

fn rate(bench: &Bench, run: &str, wanted: usize) -> f64 {
    let of = |record: &Record| match record {
        Record::Batch(batch) if batch.batch == wanted => Some(batch.lr),
        _ => None,
    };
    bench.metrics(run).iter().find_map(of).expect("a batch")
}

/// Where nothing is in flight between two batches, one epoch and then one more are two epochs, to the bit.
#[test]
fn an_epoch_and_one_more_are_two_epochs() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for (number, method) in ["bp", "gpipe(2)"].into_iter().enumerate() {
        let (whole, parts) = (format!("whole{number}"), format!("parts{number}"));
        let run = format!("train {data} {CONSTANT} --stages 2 --schedule {method}");
        succeeds(
            &bench.stagger(&format!("{run} --epochs 2 --output {whole}")),
            "done at version",
        );
        succeeds(
            &bench.stagger(&format!("{run} --epochs 1 --output {parts}")),
            "done at version",
        );
        succeeds(
            &bench.stagger(&format!("train --resume {parts} --epochs 2")),
            "its learning rates stay as planned: the next batch has 0.01\n",
        );
        assert_eq!(bench.weights(&parts), bench.weights(&whole), "{method}");
        assert_eq!(numbers(&bench, &parts), numbers(&bench, &whole), "{method}");
    }
}

/// A pipeline with batches in flight has run empty at the end; from there on it is a run like any other, also where it is resumed
/// behind that.
#[test]
fn a_stale_pipeline_fills_again() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    succeeds(
        &bench.stagger(&format!(
            "train {data} {CONSTANT} --schedule dsp --stages 3 --epochs 4 --output run"
        )),
        "done at version 12",
    );
    succeeds(
        &bench.stagger("train --resume run --epochs 8 --snapshot-every 1 --keep-snapshots 20"),
        "the run goes on to version 24 instead of 12",
    );
    let (weights, found) = (bench.weights("run"), numbers(&bench, "run"));
    assert_eq!(bench.losses("run").len(), 24);
    let mut between: Vec<String> = fs::read_dir(bench.path("run/snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| ("v00000012".."v00000024").contains(&name.as_str()))
        .collect();
    between.sort();
    for name in between.iter().rev() {
        succeeds(
            &bench.stagger(&format!("train --resume run/snapshots/{name}")),
            "done at version 24",
        );
        assert_eq!(bench.weights("run"), weights, "{name}");
        assert_eq!(numbers(&bench, "run"), found, "{name}");
    }
}

/// A cosine that had come down to 0 is that of the longer run from there on, and the run says so.
#[test]
fn a_longer_cosine_is_said() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "train {data} --batch-size 8 --calibration-batches 0 --schedule bp --lr 0.01 --warmup-batches 0"
    );
    bench.stagger(&format!("{run} --epochs 2 --output run"));
    bench.stagger(&format!("{run} --epochs 4 --output whole"));
    let longer = bench.stagger("train --resume run --epochs 4");
    succeeds(
        &longer,
        "the run goes on to version 12 instead of 6; its learning rates are from here on those of a run of 12 batches (cosine): \
         the last batch had 0.00067, the next one has 0.005; --lr-schedule, --lr-steps and --lr may say otherwise\n",
    );
    assert_eq!(rate(&bench, "run", 6), rate(&bench, "whole", 6));
    // At its end a run may go on with other rates.
    succeeds(
        &bench.stagger("train --resume run --epochs 5 --lr-schedule constant --lr 0.002"),
        "the last batch had 0.00017, the next one has 0.002; ",
    );
    assert_eq!(rate(&bench, "run", 14), 0.002);
}

/// Also where it has gone on at other rates: those hold for all that it trains again.
#[test]
fn a_longer_run_may_go_back_behind_its_former_end() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    // With rollbacks, as no snapshot of such a run is left out.
    let run = format!(
        "train {data} {CONSTANT} --schedule bp --epochs 2 --keep-snapshots 30 --on-nan rollback"
    );
    bench.stagger(&format!("{run} --output run"));
    let steps = "--lr-schedule step --lr-steps 3 --lr-gamma 0.5";
    succeeds(
        &bench.stagger(&format!("train --resume run --epochs 4 {steps}")),
        "resumed at version 6 of 12",
    );
    let before = numbers(&bench, "run");
    for version in [6, 9, 12] {
        let stage = format!("run/snapshots/v{version:08}/stage-0.safetensors");
        fs::write(bench.path(&stage), "damaged").unwrap();
    }
    // Rates that the run has never had stay refused there.
    let other = bench.stagger("train --resume run --epochs 5 --lr-gamma 0.25");
    assert_eq!(other.status, 2, "{}", other.stdout);
    assert!(other.stderr.contains("--lr-gamma"), "{}", other.stderr);
    let again = bench.stagger("train --resume run --epochs 5");
    succeeds(&again, "resumed at version 3 of 15");
    succeeds(&again, "from here on those of a run of 15 batches (step)");
    assert_eq!(numbers(&bench, "run")[..before.len()], before);
}

/// The pipeline drains at the former end of a longer run, also when the run resumes from a snapshot before it.
#[test]
fn a_longer_run_that_goes_back_drains_at_its_former_end_again() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run =
        // With rollbacks, as no snapshot of such a run is left out, however slow the disk is.
        format!("train {data} {CONSTANT} --schedule dsp --stages 3 --epochs 4 --keep-snapshots 30 --on-nan rollback");
    bench.stagger(&format!("{run} --output run"));
    succeeds(
        &bench.stagger("train --resume run --epochs 6"),
        "done at version 18",
    );
    let before = numbers(&bench, "run");
    // The snapshot of version 6 has as much in flight as if the run had been planned longer: later manifests say where it drained, and
    // without those the one at the former end does.
    for removed in [&[][..], &[15, 18]] {
        for version in removed {
            fs::remove_dir_all(bench.path(&format!("run/snapshots/v{version:08}"))).unwrap();
        }
        for version in [9, 12, 15, 18]
            .into_iter()
            .filter(|version| !removed.contains(version))
        {
            let stage = format!("run/snapshots/v{version:08}/stage-0.safetensors");
            fs::write(bench.path(&stage), "damaged").unwrap();
        }
        let again = bench.stagger("train --resume run");
        succeeds(&again, "resumed at version 6 of 18");
        assert_eq!(numbers(&bench, "run"), before);
    }
}

#[test]
fn a_limit_of_batches_may_rise() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {CONSTANT} --schedule bp --epochs 8");
    succeeds(
        &bench.stagger(&format!("{run} --max-batches 4 --output run")),
        "\n--max-batches 4 ended the run at version 4 of 24; go on with: stagger train --resume run --max-batches 8\n",
    );
    succeeds(
        &bench.stagger("train --resume run --max-batches 4"),
        "run: finished at version 4; nothing is left to do; to train on, resume it with --max-batches above 4\n",
    );
    let shorter = bench.stagger("train --resume run --max-batches 3");
    assert_eq!(shorter.status, 2);
    assert!(
        shorter
            .stderr
            .contains("--max-batches was 4 and is 3 now: a run can be made longer, not shorter; "),
        "{}",
        shorter.stderr
    );
    succeeds(
        &bench.stagger("train --resume run --max-batches 8"),
        "done at version 8 ",
    );
    // More epochs than it was to have lift the limit.
    succeeds(
        &bench.stagger("train --resume run --epochs 9"),
        "done at version 27 ",
    );
    bench.stagger(&format!("{run} --epochs 9 --output whole"));
    assert_eq!(bench.weights("run"), bench.weights("whole"));
}

/// A time limit is that of one process: the next has its own, or none.
#[test]
fn a_run_goes_on_after_its_time_limit() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "train {data} {CONSTANT} --schedule dsp --stages 2 --evaluate false --epochs 100000 --resume auto --output run --max-seconds 0.5"
    );
    let version = |output: &Output| -> usize {
        let said = output.stdout.split("done at version ").nth(1);
        let said = said.and_then(|rest| rest.split(' ').next());
        said.expect("its end").parse().expect("a version")
    };
    let first = bench.stagger(&run);
    let reached = version(&first);
    succeeds(
        &first,
        &format!(
            "\nthe time limit of 0.5 s ended the run at version {reached} of 300000; go on for as long again with: stagger train \
             --resume run --max-seconds 0.5, or to the end without --max-seconds\n"
        ),
    );
    // What a job script says again and again.
    let second = bench.stagger(&run);
    succeeds(&second, &format!("resumed at version {reached} of 300000"));
    assert!(version(&second) > reached);
    let config = bench.path("run/config.toml");
    let said = fs::read_to_string(&config).unwrap();
    assert!(said.contains("max-seconds = 0.5"), "{said}");
}

/// The run that its time limit has ended and that goes on without one is the run that it would have been.
#[test]
fn without_the_limit_it_goes_on_to_its_end() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "train {data} {CONSTANT} --model resnet20 --schedule dsp --stages 2 --evaluate false --epochs 20"
    );
    succeeds(
        &bench.stagger(&format!("{run} --output whole")),
        "done at version 60 ",
    );
    succeeds(
        &bench.stagger(&format!("{run} --max-seconds 0.01 --output run")),
        "the time limit of 0.01 s ended the run at version ",
    );
    // Also as the newest run that is not finished.
    fs::create_dir(bench.path("runs")).unwrap();
    fs::rename(bench.path("run"), bench.path("runs/a")).unwrap();
    succeeds(&bench.stagger("train --resume auto"), "done at version 60 ");
    assert_eq!(bench.weights("runs/a"), bench.weights("whole"));
    let said = fs::read_to_string(bench.path("runs/a/config.toml")).unwrap();
    assert!(!said.contains("max-seconds"), "{said}");
}

/// The rates that a run of ten batches, three to an epoch, has had.
#[test]
fn rates_follow_their_schedule() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "train {data} --batch-size 8 --calibration-batches 0 --schedule bp --stages 1 --evaluate false --max-batches 10 --lr 0.5"
    );
    let rates = |name: &str, flags: &str| {
        succeeds(
            &bench.stagger(&format!("{run} --epochs 4 {flags} --output {name}")),
            "done at version 10 ",
        );
        (0..10)
            .map(|batch| rate(&bench, name, batch) / 0.5)
            .collect::<Vec<f64>>()
    };
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    };
    // Three tenths of the run go up.
    let one_cycle = rates("one-cycle", "--lr-schedule one-cycle");
    close(one_cycle[0], 1.0 / 25.0);
    close(one_cycle[2], 1.0);
    close(one_cycle[9], 1.0 / 250_000.0);
    // After two batches of warm-up, cosines of one epoch and of two.
    let flags = "--lr-schedule restarts --lr-restart 1,2 --lr-last 0.1 --warmup-batches 2";
    let restarts = rates("restarts", flags);
    close(restarts[0], 1.0 / 3.0);
    for full in [2, 5] {
        close(restarts[full], 1.0);
    }
    close(restarts[8], 0.6);
    // Without a length, two from there to the end.
    let halves = rates("halves", "--lr-schedule restarts --warmup-batches 2");
    for full in [2, 6] {
        close(halves[full], 1.0);
    }
    close(halves[4], 0.5);
    close(halves[9], halves[5]);
    let flags = "--lr-schedule polynomial --lr-power 2 --warmup-batches 0 --lr-last 0.1";
    let polynomial = rates("polynomial", flags);
    close(polynomial[5], 0.2 + 0.8 / 4.0);
}
