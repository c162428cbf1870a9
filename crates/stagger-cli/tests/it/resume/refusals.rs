//! Runs that cannot be resumed, or not in the way that is asked for.

use super::*;

/// What needs snapshots needs them in the rest of a run, too.
#[test]
fn snapshots_that_the_run_takes_cannot_be_given_up() {
    let (bench, data) = finished();
    let refused = bench.stagger("train --resume run --epochs 9 --keep-snapshots 0");
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    let expected = "error: --snapshot-every does nothing with --keep-snapshots 0; leave it out, or use --keep-snapshots 1 or more\n";
    assert_eq!(refused.stderr, expected);

    let plain = "--stages 1 --schedule bp --batch-size 8 --epochs 1 --lr-schedule constant --calibration-batches 0";
    let run = bench.stagger(&format!(
        "train {data} {plain} --on-nan rollback --output other"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let refused = bench.stagger("train --resume other --epochs 2 --keep-snapshots 0");
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    let expected = "error: --on-nan does nothing with --keep-snapshots 0; leave it out, or use --keep-snapshots 1 or more\n";
    assert_eq!(refused.stderr, expected);

    // What it lacks is said, whatever is asked for.
    let run = bench.stagger(&format!(
        "train {data} {plain} --keep-snapshots 0 --output none"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let plainly = bench.stagger("train --resume none --epochs 2");
    let refused = bench.stagger("train --resume none --epochs 2 --on-nan rollback");
    assert_eq!((plainly.status, refused.status), (2, 2));
    assert_eq!(refused.stderr, plainly.stderr);
}

#[test]
fn what_would_change_the_numbers_is_refused() {
    let (bench, data) = finished();
    let before = contents(&bench.path("run"));
    for (flags, expected) in [
        ("--lr 0.02", "--lr was 0.01 and is 0.02 now; "),
        (
            "--epochs 7",
            "--epochs was 8 and is 7 now: a run can be made longer, not shorter; ",
        ),
        ("--epochs 9 --seed 7", "--seed was 1 and is 7 now; "),
        (
            "--epochs 9 --momentum 0.5",
            "--momentum was 0.9 and is 0.5 now; ",
        ),
        ("--seed 7", "--seed was 1 and is 7 now; "),
        ("--schedule pipedream", "--schedule was "),
        ("--schedule bp --stages 3", "now; "),
        ("--balance 1,4", "--balance was "),
        ("--batch-size 4", "--batch-size was 8 and is 4 now; "),
        ("--model resnet20", "--model was "),
    ] {
        let refused = bench.stagger(&format!("train --resume run {flags}"));
        assert_refused(&refused, expected);
        assert!(
            refused
                .stderr
                .contains("start a new one with --resume-weights run"),
            "{}",
            refused.stderr
        );
    }
    let mut records = fs::read(bench.path("data_batch_1.bin")).unwrap();
    records[100] ^= 1;
    fs::write(bench.path("data_batch_1.bin"), records).unwrap();
    assert_refused(
        &bench.stagger("train --resume run"),
        "the images to train on have changed: their fingerprint was ",
    );
    assert_refused(
        &bench.stagger(&format!("train {data} --resume nowhere")),
        "--resume: nowhere is neither a run folder nor one of its snapshots",
    );
    assert_refused(
        &bench.stagger("train --resume run --output other"),
        "--resume continues in the folder of the run, and --output other is another",
    );
    assert_eq!(contents(&bench.path("run")), before);
}

/// What is there is not overwritten, though there is no snapshot to resume from.
#[test]
fn a_run_without_whole_snapshots_is_left_alone() {
    let (bench, data) = finished();
    for entry in fs::read_dir(bench.path("run/snapshots")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(path.join("stage-0.safetensors"), "").unwrap();
    }
    let before = contents(&bench.path("run"));
    assert_refused(
        &bench.stagger("train --resume run"),
        "none of the snapshots of run is whole: ",
    );
    assert_eq!(contents(&bench.path("run")), before);

    bench.train("bare", &format!("{data} --keep-snapshots 0"));
    let before = contents(&bench.path("bare"));
    assert_refused(
        &bench.stagger("train --resume bare"),
        "bare keeps no snapshots to go on from; start a new run, with --resume-weights bare",
    );
    assert_eq!(contents(&bench.path("bare")), before);
}

#[test]
fn two_processes_do_not_train_in_one_folder() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let arguments = format!(
        "train {data} --batch-size 8 --epochs 100000 --calibration-batches 0 --lr 0.01 --output run"
    );
    let child = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut child = Killed(child);
    while !bench.path("run/metrics.jsonl").exists() {
        sleep(Duration::from_millis(10));
        let running = child.0.try_wait().is_ok_and(|status| status.is_none());
        assert!(running, "ended too early");
    }
    for resume in ["--resume run", "--resume auto --output run"] {
        assert_refused(
            &bench.stagger(&format!("train {resume}")),
            "another process trains in run; wait for its end, or stop it",
        );
    }
}

/// Snapshots of builds whose cosine began with the run are resumed with today's learning rates, which is said.
#[test]
fn other_learning_rates_of_an_earlier_build_are_told() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = bench.stagger(&format!(
        "train {data} {RUN} --warmup-batches 4 --keep-snapshots 30 --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let line = "whose cosine began with the run";
    let snapshot = snapshot(&bench, earlier(&bench, "run"));
    let resume = format!("train --resume {}", snapshot.display());
    let today = bench.stagger(&resume);
    assert_eq!(today.status, 0, "{}", today.stderr);
    assert!(!today.stdout.contains(line), "{}", today.stdout);

    let path = snapshot.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("class_names");
    manifest["format_version"] = 1.into();
    fs::write(&path, manifest.to_string()).unwrap();
    let earlier = bench.stagger(&resume);
    assert_eq!(earlier.status, 0, "{}", earlier.stderr);
    assert!(earlier.stdout.contains(line), "{}", earlier.stdout);
}
