//! Runs that are resumed, and what `inspect` says of what they leave.

mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use image::{GrayImage, Luma};
use stagger::report::Record;

use crate::support::{Bench, Output};

/// Two stages, 24 batches of tiny images, a snapshot every 4 batches.
const RUN: &str = "--stages 2 --schedule dsp --batch-size 8 --epochs 8 --snapshot-every 4 --keep-snapshots 3 --lr 0.01 \
                   --calibration-batches 0";

/// A bench with the finished run `run`, and the flags of its data.
fn finished() -> (Bench, String) {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = bench.stagger(&format!("train {data} {RUN} --output run"));
    assert_eq!(run.status, 0, "{}", run.stderr);
    (bench, data)
}

fn snapshot(bench: &Bench, version: usize) -> PathBuf {
    bench.path(&format!("run/snapshots/v{version:08}"))
}

/// Versions of the snapshots of a run, in order. Which ones there are depends on the disk: those that it has no time for are
/// left out, but never the last.
fn versions(bench: &Bench, run: &str) -> Vec<usize> {
    let entries = fs::read_dir(bench.path(run).join("snapshots")).expect("snapshots");
    let mut versions: Vec<usize> = entries
        .map(|entry| {
            let name = entry.expect("a folder").file_name();
            let name = name.into_string().expect("a name");
            name[1..].parse().expect("a version")
        })
        .collect();
    versions.sort_unstable();
    versions
}

/// The last version but one.
fn earlier(bench: &Bench, run: &str) -> usize {
    let versions = versions(bench, run);
    versions[versions.len() - 2]
}

/// All files of a folder, by their paths.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

fn assert_refused(output: &Output, expected: &str) {
    assert_eq!(output.status, 2, "{expected}: {}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let (bench, _) = finished();
    let before = contents(&bench.path("run"));
    let again = bench.stagger("train --resume run");
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(
        again.stdout,
        "run: finished at version 24; nothing is left to do; to train on, resume it with --epochs above 8\n"
    );
    assert_eq!(contents(&bench.path("run")), before);
}

#[test]
fn only_the_newest_snapshots_stay_and_the_best() {
    let (bench, _) = finished();
    let versions = versions(&bench, "run");
    assert!((2..=4).contains(&versions.len()), "{versions:?}");
    assert_eq!(versions.last(), Some(&24));
}

#[test]
fn a_damaged_snapshot_is_left_out_and_the_one_before_goes_on() {
    let (bench, _) = finished();
    let before = bench.weights("run");
    let losses = bench.losses("run");
    let earlier = earlier(&bench, "run");
    let damaged = snapshot(&bench, 24).join("stage-1.safetensors");
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let again = bench.stagger("train --resume run");
    assert_eq!(again.status, 0, "{}", again.stderr);
    let note = "stage-1.safetensors is not part of a whole snapshot: its checksum is ";
    assert!(again.stdout.contains(note), "{}", again.stdout);
    assert!(
        again
            .stdout
            .contains(&format!("resumed at version {earlier} of 24")),
        "{}",
        again.stdout
    );
    assert_eq!(bench.weights("run"), before);
    assert_eq!(bench.losses("run"), losses);
    let inspected = bench.stagger("inspect run");
    assert!(
        !inspected.stdout.contains("damaged"),
        "{}",
        inspected.stdout
    );
}

#[test]
fn a_named_snapshot_is_where_the_run_goes_on() {
    let (bench, _) = finished();
    let (before, losses) = (bench.weights("run"), bench.losses("run"));
    let earlier = earlier(&bench, "run");
    let again = bench.stagger(&format!("train --resume run/snapshots/v{earlier:08}"));
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(
        again
            .stdout
            .contains(&format!("resumed at version {earlier} of 24")),
        "{}",
        again.stdout
    );
    assert_eq!(bench.weights("run"), before);
    assert_eq!(bench.losses("run"), losses);
}

/// Killed before its first snapshot, a run starts again, but only as the run that it was.
#[test]
fn a_run_that_has_no_snapshot_yet_starts_again() {
    let (bench, _) = finished();
    let (weights, losses) = (bench.weights("run"), bench.losses("run"));
    fs::remove_dir_all(bench.path("run/snapshots")).unwrap();
    let metrics = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let lines = metrics.split_inclusive('\n');
    let unended: String = lines
        .filter(|line| !line.contains(r#""kind":"end""#))
        .collect();
    assert_ne!(unended, metrics);
    fs::write(bench.path("run/metrics.jsonl"), unended).unwrap();
    assert_refused(
        &bench.stagger("train --resume run --lr 0.02"),
        "--lr was 0.01 and is 0.02 now; ",
    );
    let again = bench.stagger("train --resume run");
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(
        again
            .stdout
            .contains("there is no snapshot yet: starting again at version 0"),
        "{}",
        again.stdout
    );
    assert_eq!(bench.weights("run"), weights);
    assert_eq!(bench.losses("run"), losses);
}

/// Longer queues change times and not numbers: a run may be resumed with them.
#[test]
fn queues_may_change() {
    let (bench, _) = finished();
    let (before, losses) = (bench.weights("run"), bench.losses("run"));
    let earlier = earlier(&bench, "run");
    let again = bench.stagger(&format!(
        "train --resume run/snapshots/v{earlier:08} --schedule dsp(2,0;2,0)"
    ));
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(bench.weights("run"), before);
    assert_eq!(bench.losses("run"), losses);
}

#[test]
fn weights_alone_fit_other_cuts_methods_and_optimizers() {
    let (bench, data) = finished();
    let train = |name: &str, flags: &str| {
        bench.train(
            name,
            &format!("{data} --lr-schedule constant --warmup-batches 0 {flags}"),
        );
        bench.weights(name)
    };
    let one = train("one", "--resume-weights run --schedule bp --stages 1");
    // BP over three stages is BP, optimizer state included.
    let three = train("three", "--resume-weights run --schedule bp --stages 3");
    assert_eq!(one, three);
    let fresh = train("fresh", "--schedule bp --stages 1");
    assert_ne!(one, fresh);
    // The last snapshot has the last weights, and the momentum besides.
    let momentum = train(
        "from-snapshot",
        "--resume-weights run/snapshots/v00000024 --schedule bp --stages 1",
    );
    assert_eq!(one, momentum);
    let from_file = train(
        "from-file",
        "--resume-weights run/last.safetensors --schedule bp --stages 1",
    );
    assert_ne!(one, from_file);
    train("adamw", "--resume-weights run --stages 4 --optimizer adamw");

    let refused = bench.stagger(&format!(
        "train {data} --resume-weights run --model resnet20 --output other"
    ));
    assert_eq!(refused.status, 2, "{}", refused.stdout);
    let expected = "run do not fit resnet20: 60 tensors are missing\n";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    assert_refused(
        &bench.stagger(&format!("train {data} --resume-weights . --output other")),
        "is neither a run folder, nor a snapshot, nor a weights file",
    );
    assert!(!bench.path("other").exists());
}

#[test]
fn inspect_tells_what_there_is() {
    let (bench, _) = finished();
    let tells = |path: &str, expected: &[&str]| {
        let output = bench.stagger(&format!("inspect {path}"));
        assert_eq!(output.status, 0, "{path}: {}", output.stderr);
        for part in expected {
            assert!(output.stdout.contains(part), "{path}: {}", output.stdout);
        }
    };
    tells(
        "run",
        &[
            "schedule = \"dsp\"",
            "metrics.jsonl: 24 batches",
            "epoch 8/8",
            "done at version 24",
            "version 24: ",
        ],
    );
    let version = earlier(&bench, "run");
    // The last of three batches has the rest of the 20 images.
    let rows = if version % 3 == 2 { 4 } else { 8 };
    let kept = format!(
        "kept: batch {version}.0 forwarded at version {}, input [{rows}, 3, 32, 32]",
        version - 2
    );
    let folder = format!("run/snapshots/v{version:08}");
    tells(
        &folder,
        &[
            &format!("version {version} of 24"),
            "dsp(1,0;2,0) on 2 stages",
            "stage 1",
            &kept,
            &format!("sent up: batch {}.0", version + 1),
        ],
    );
    tells(
        &format!("{folder}/stage-0.safetensors"),
        &[&kept, "optimizer.", "conv1.weight [16, 3, 3, 3]"],
    );
    tells(
        "run/last.safetensors",
        &["model: resnet8", "conv1.weight [16, 3, 3, 3]", "tensors, "],
    );
    // A run that was killed while it wrote.
    let metrics = bench.path("run/metrics.jsonl");
    let whole = fs::read(&metrics).unwrap();
    fs::write(&metrics, &whole[..whole.len() - 10]).unwrap();
    tells("run", &["metrics.jsonl: 24 batches"]);
    fs::write(bench.path("notes.txt"), "not a weights file").unwrap();
    assert_refused(&bench.stagger("inspect notes.txt"), "notes.txt");
    assert_refused(&bench.stagger("inspect nothing"), "nothing");
    fs::write(
        bench.path(&folder).join("manifest.json"),
        "{\"format_version\":9}",
    )
    .unwrap();
    assert_refused(
        &bench.stagger(&format!("inspect {folder}")),
        "the format version is 9; this version of stagger reads 2",
    );
}

/// A child that is killed, whatever becomes of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its process has written nothing but what it is about to rename.
#[cfg(unix)]
#[test]
fn auto_leaves_a_beginning_to_the_process_that_lives() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN} --resume auto --output run");
    fs::create_dir(bench.path("run")).unwrap();
    let beginning = bench.path("run/.config.toml.partial");
    fs::write(&beginning, "seed").unwrap();
    let held = fs::File::open(bench.path("run")).unwrap();
    held.lock().unwrap();
    let other = "another process trains in run; wait for its end, or stop it";
    assert_refused(&bench.stagger(&run), other);
    assert_eq!(fs::read(&beginning).unwrap(), b"seed");
    // It was killed.
    drop(held);
    let second = bench.stagger(&run);
    assert_eq!(second.status, 0, "{}", second.stderr);
    assert!(!beginning.exists());
}

/// `--resume auto` without a folder takes the newest run that has not ended, and starts one where there is none.
#[test]
fn auto_starts_and_goes_on() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN} --resume auto");
    let first = bench.stagger(&run);
    assert_eq!(first.status, 0, "{}", first.stderr);
    let name = fs::read_dir(bench.path("runs")).unwrap().next().unwrap();
    let name = format!("runs/{}", name.unwrap().file_name().to_string_lossy());
    let weights = bench.weights(&name);
    // Make it one whose process died after the last snapshot but one.
    let earlier = earlier(&bench, &name);
    let metrics = bench.path(&name).join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(
        &metrics,
        format!("{}\n{{\"kind\":\"ba", lines[..lines.len() - 2].join("\n")),
    )
    .unwrap();
    let late = bench.path(&name).join("snapshots/v00000024");
    fs::remove_dir_all(late).unwrap();
    let second = bench.stagger(&run);
    assert_eq!(second.status, 0, "{}", second.stderr);
    assert!(
        second
            .stdout
            .contains(&format!("resumed at version {earlier} of 24")),
        "{}",
        second.stdout
    );
    assert_eq!(bench.weights(&name), weights);
    let batches: Vec<usize> = bench
        .metrics(&name)
        .iter()
        .filter_map(|record| match record {
            Record::Batch(batch) => Some(batch.batch),
            _ => None,
        })
        .collect();
    assert_eq!(batches, (0..24).collect::<Vec<_>>());
    // It has ended by now: the next is a new one.
    let third = bench.stagger(&run);
    assert_eq!(third.status, 0, "{}", third.stderr);
    assert!(!third.stdout.contains("resumed"), "{}", third.stdout);
    assert_eq!(fs::read_dir(bench.path("runs")).unwrap().count(), 2);
}

/// What an epoch has trained is kept before its evaluation, which may fail: here at a picture that is damaged, and that the scan
/// of a set without a cache has not decoded.
#[test]
fn a_failed_evaluation_loses_nothing() {
    let bench = Bench::new();
    for (split, number) in [("train", 6), ("val", 3)] {
        for (class, shade) in [("dark", 40), ("light", 200)] {
            let folder = bench.path("d").join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..number {
                let pixel = |x: u32, y: u32| Luma([(shade + (x * y + index) % 16) as u8]);
                let image = GrayImage::from_fn(32, 32, pixel);
                image.save(folder.join(format!("{index}.png"))).unwrap();
            }
        }
    }
    // The only evaluation is the one that fails; or others follow it.
    for epochs in [1, 3] {
        fails_and_resumes(&bench, epochs);
    }
}

fn fails_and_resumes(bench: &Bench, all: usize) {
    let run = format!(
        "train --dataset image-folder --data-dir d --stages 2 --schedule dsp --batch-size 4 --epochs {all} --lr 0.01 \
         --cache-bytes 0 --calibration-batches 0"
    );
    let (unbroken, broken) = (format!("whole{all}"), format!("run{all}"));
    let whole = bench.stagger(&format!("{run} --output {unbroken}"));
    assert_eq!(whole.status, 0, "{}", whole.stderr);

    let picture = bench.path("d/val/light/1.png");
    let bytes = fs::read(&picture).unwrap();
    fs::write(&picture, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let failed = bench.stagger(&format!("{run} --output {broken}"));
    assert_eq!(failed.status, 1, "{}", failed.stderr);
    assert!(
        failed.stderr.contains("d/val/light/1.png"),
        "{}",
        failed.stderr
    );
    assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
    assert_eq!(versions(bench, &broken), [3]);

    fs::write(&picture, bytes).unwrap();
    // It was damaged from the start, so that this is another picture.
    assert_refused(
        &bench.stagger(&format!("train --resume {broken}")),
        "the images to evaluate on have changed",
    );
    let resumed = bench.stagger(&format!("train --resume {broken} --accept-changed-data"));
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        resumed
            .stdout
            .contains(&format!("resumed at version 3 of {}", 3 * all)),
        "{}",
        resumed.stdout
    );
    assert_eq!(epochs(bench, &broken), epochs(bench, &unbroken));
    assert_eq!(bench.losses(&broken), bench.losses(&unbroken));
    for file in ["last.safetensors", "best.safetensors"] {
        let of = |run: &str| fs::read(bench.path(run).join(file)).unwrap();
        assert!(of(&broken) == of(&unbroken), "{file}");
    }
}

/// Loss and accuracies of every epoch.
fn epochs(bench: &Bench, run: &str) -> Vec<(usize, f64, Option<f64>, Option<f64>)> {
    let records = bench.metrics(run).into_iter();
    records
        .filter_map(|record| match record {
            Record::Epoch(epoch) => Some((
                epoch.epoch,
                epoch.train_loss,
                epoch.test_loss,
                epoch.test_top1,
            )),
            _ => None,
        })
        .collect()
}
