//! Run folders whose files do not say the same: a run goes on from the newest snapshot that all of them cover, or says why not.

use std::fs;
use std::path::PathBuf;

use crate::support::{Bench, Output};

/// With rollbacks, as no snapshot of such a run is left out, however slow the disk is.
const RUN: &str = "--stages 2 --schedule dsp --batch-size 8 --epochs 4 --snapshot-every 2 --keep-snapshots 30 --lr 0.01 \
                   --calibration-batches 0 --on-nan rollback";

/// A finished run of 12 batches and what it left.
struct Finished {
    bench: Bench,
    versions: Vec<usize>,
    weights: stagger::engine::StageState,
    losses: Vec<f32>,
    best: Vec<u8>,
}

impl Finished {
    fn new() -> Self {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let run = bench.stagger(&format!("train {data} {RUN} --output run"));
        assert_eq!(run.status, 0, "{}", run.stderr);
        let entries = fs::read_dir(bench.path("run/snapshots")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut versions: Vec<usize> = names.map(|name| name[1..].parse().unwrap()).collect();
        versions.sort_unstable();
        Self {
            versions,
            weights: bench.weights("run"),
            losses: bench.losses("run"),
            best: fs::read(bench.path("run/best.safetensors")).unwrap(),
            bench,
        }
    }

    fn manifest(&self, version: usize) -> PathBuf {
        self.bench
            .path(&format!("run/snapshots/v{version:08}/manifest.json"))
    }

    /// The newest snapshot before a version.
    fn before(&self, version: usize) -> usize {
        *self.versions.iter().rfind(|at| **at < version).unwrap()
    }

    fn resume(&self) -> Output {
        self.bench.stagger("train --resume run")
    }

    /// The run has gone on from a version, has said so, and its files are as they were.
    fn goes_on_from(&self, version: usize, said: &str) {
        let again = self.resume();
        assert_eq!(again.status, 0, "{}", again.stderr);
        let resumed = format!("resumed at version {version} of 12");
        for line in [said, &resumed] {
            assert!(again.stdout.contains(line), "{line}: {}", again.stdout);
        }
        self.is_as_it_was();
    }

    fn is_as_it_was(&self) {
        assert!(self.bench.weights("run") == self.weights);
        assert_eq!(self.bench.losses("run"), self.losses);
        let best = fs::read(self.bench.path("run/best.safetensors")).unwrap();
        assert!(best == self.best);
    }

    fn is_refused(&self, said: &str) {
        let again = self.resume();
        assert_eq!((again.status, again.stdout.as_str()), (2, ""), "{said}");
        assert_eq!(again.stderr.lines().count(), 1, "{}", again.stderr);
        assert!(again.stderr.contains(said), "{said}: {}", again.stderr);
    }

    fn metrics(&self) -> PathBuf {
        self.bench.path("run/metrics.jsonl")
    }

    /// Number of the line of a batch, from 0.
    fn line_of(&self, batch: usize) -> usize {
        let text = fs::read_to_string(self.metrics()).unwrap();
        let start = format!("{{\"kind\":\"batch\",\"batch\":{batch},");
        text.lines()
            .position(|line| line.starts_with(&start))
            .unwrap()
    }
}

fn change(path: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// As on a disk whose writes of the metrics failed.
#[test]
fn a_snapshot_whose_metrics_are_missing_is_left_out() {
    let run = Finished::new();
    let last = run.line_of(11);
    let text = fs::read_to_string(run.metrics()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(run.metrics(), lines[..last].concat()).unwrap();
    run.goes_on_from(
        run.before(12),
        "v00000012 is left out: run/metrics.jsonl, line 16: 11 batches before version 12; 12 were expected",
    );
    // And after that as any other run.
    run.bench.stagger("train --resume run/snapshots/v00000002");
    run.is_as_it_was();
}

#[test]
fn a_changed_digit_in_the_metrics_is_noticed() {
    for kind in ["batch", "epoch"] {
        let run = Finished::new();
        let text = fs::read_to_string(run.metrics()).unwrap();
        let place = match kind {
            "batch" => run.line_of(run.before(12)),
            _ => {
                let is_epoch = |(_, line): &(usize, &str)| line.starts_with("{\"kind\":\"epoch\"");
                text.lines().enumerate().filter(is_epoch).last().unwrap().0
            }
        };
        let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
        let digits: Vec<usize> = lines[place]
            .match_indices(['3', '5'])
            .map(|(at, _)| at)
            .collect();
        let digit = *digits.last().unwrap();
        lines[place].replace_range(digit..=digit, "4");
        fs::write(run.metrics(), lines.concat()).unwrap();
        run.goes_on_from(
            run.before(12),
            "v00000012 is left out: run/metrics.jsonl is damaged: its lines before version 12 have another checksum",
        );
    }
}

#[test]
fn metrics_that_cover_no_snapshot_are_refused() {
    let run = Finished::new();
    change(&run.metrics(), "format_version\":1", "format_version\":7");
    run.is_refused("none of the snapshots of run is whole: ");
    fs::remove_file(run.metrics()).unwrap();
    run.is_refused("metrics.jsonl, line 1: the file is missing");
}

#[test]
fn a_damaged_manifest_is_left_out() {
    for (from, to) in [
        (
            "\"learning_rate_factor\": 1.0",
            "\"learning_rate_factor\": 3.0",
        ),
        ("\"format_version\": 2", "\"format_version\": 3"),
        ("\"format_version\": 2", "\"format_version\": 1"),
        ("\"crc32\": ", "\"crc33\": "),
        ("lr = 0.01", "lr = 0.03"),
    ] {
        let run = Finished::new();
        change(&run.manifest(12), from, to);
        let said = "v00000012 is left out: run/snapshots/v00000012/manifest.json is not part of a whole snapshot: its ";
        run.goes_on_from(run.before(12), said);
    }
}

/// Whole files, in the wrong places.
#[test]
fn a_snapshot_under_the_name_of_another_is_left_out() {
    let run = Finished::new();
    let (last, before) = (run.manifest(12), run.manifest(run.before(12)));
    fs::remove_dir_all(last.parent().unwrap()).unwrap();
    fs::rename(before.parent().unwrap(), last.parent().unwrap()).unwrap();
    let version = run.before(12);
    run.goes_on_from(
        run.before(version),
        &format!("v00000012/manifest.json is not part of a whole snapshot: it is that of version {version}"),
    );
}

#[test]
fn a_changed_config_is_refused_unless_it_is_meant() {
    let run = Finished::new();
    let config = run.bench.path("run/config.toml");
    change(&config, "epochs = 4", "epochs = 5");
    run.is_refused("run/config.toml: its checksum is ");
    let eval = run.bench.stagger("eval --run run");
    assert_eq!(eval.status, 2, "{}", eval.stdout);
    // It may be trained from as any other config, and may be changed by hand.
    let other = run
        .bench
        .stagger("train --config run/config.toml --max-batches 1 --output other");
    assert_eq!(other.status, 0, "{}", other.stderr);
    let text = fs::read_to_string(&config).unwrap();
    let (meant, _) = text.split_once("# crc32").unwrap();
    fs::write(&config, meant).unwrap();
    let longer = run.resume();
    assert_eq!(longer.status, 0, "{}", longer.stderr);
    assert!(
        longer
            .stdout
            .contains("goes on to version 15 instead of 12"),
        "{}",
        longer.stdout
    );
}

/// The best weights are written anew from their snapshot.
#[test]
fn damaged_best_weights_are_restored() {
    let run = Finished::new();
    let best = run.bench.path("run/best.safetensors");
    let mut bytes = run.best.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(&best, bytes).unwrap();
    let eval = run.bench.stagger("eval --run run --weights best");
    assert_eq!(eval.status, 2, "{}", eval.stdout);
    assert!(eval.stderr.contains("its checksum is "), "{}", eval.stderr);
    fs::remove_dir_all(run.manifest(12).parent().unwrap()).unwrap();
    run.goes_on_from(
        run.before(12),
        "run/best.safetensors is not a weights file that stagger reads: its checksum is ",
    );
}

/// The weights of a run that has met its goal are not those of an earlier snapshot, where the last one is damaged.
#[test]
fn a_run_that_met_its_goal_keeps_its_last_weights() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = bench.stagger(&format!(
        "train {data} --stages 2 --schedule bp --batch-size 8 --epochs 1000 --calibration-batches 0 --lr 0.01 --target 1 --keep-snapshots 9 --snapshot-every 1 \
         --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let mut snapshots: Vec<_> = fs::read_dir(bench.path("run/snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    snapshots.sort();
    let version = |path: &std::path::Path| -> usize {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.trim_start_matches('v').parse().unwrap()
    };
    let last = snapshots.pop().unwrap();
    fs::remove_dir_all(&last).unwrap();
    let resumed = bench.stagger("train --resume run");
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        !resumed.stdout.contains("is written anew"),
        "{}",
        resumed.stdout
    );
    let before = version(snapshots.last().unwrap());
    let metadata = stagger::report::read_weights(&bench.path("run/last.safetensors"))
        .unwrap()
        .metadata;
    let found: usize = metadata["version"].parse().unwrap();
    assert!(found > before, "{found} {before}: {}", resumed.stdout);
}

/// A run at its end whose weights are damaged, gone, or those of another version has them again, to the byte.
#[test]
fn damaged_weights_of_a_run_at_its_end_are_written_anew() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = bench.stagger(&format!(
        "train {data} --stages 2 --batch-size 8 --epochs 2 --calibration-batches 0 --lr 0.01 --ema 0.8 --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let files = ["last", "average", "best"].map(|name| format!("run/{name}.safetensors"));
    let read = |file: &String| fs::read(bench.path(file)).unwrap();
    let whole: Vec<_> = files.iter().map(read).collect();
    let finished = "run: finished at version 6; nothing is left to do";
    for (number, file) in files.iter().enumerate() {
        for damage in ["gone", "flipped", "another"] {
            let mut bytes = read(file);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 16;
            match damage {
                "gone" => fs::remove_file(bench.path(file)).unwrap(),
                "flipped" => fs::write(bench.path(file), bytes).unwrap(),
                _ => fs::write(bench.path(file), &whole[(number + 1) % 2]).unwrap(),
            }
            let resumed = bench.stagger("train --resume run");
            assert_eq!(resumed.status, 0, "{}", resumed.stderr);
            // The best weights of an earlier version are no surprise.
            if (damage, number) != ("another", 2) {
                let line = "it is written anew from the snapshot of version ";
                assert!(
                    resumed.stdout.contains(line),
                    "{damage} {file}: {}",
                    resumed.stdout
                );
                assert!(resumed.stdout.contains(file), "{}", resumed.stdout);
            }
            assert!(resumed.stdout.contains(finished), "{}", resumed.stdout);
            assert!(
                files.iter().map(read).eq(whole.iter().cloned()),
                "{damage} {file}"
            );
        }
    }
    let again = bench.stagger("train --resume run");
    assert!(again.stdout.starts_with(finished), "{}", again.stdout);
}

/// So are those of another run, although their file is whole.
#[test]
fn best_weights_of_another_run_are_replaced() {
    let run = Finished::new();
    let data = run.bench.tiny_data();
    let other = run
        .bench
        .stagger(&format!("train {data} {RUN} --seed 9 --output other"));
    assert_eq!(other.status, 0, "{}", other.stderr);
    let best = run.bench.path("run/best.safetensors");
    let version = |path: &PathBuf| {
        let weights = stagger::report::read_weights(path).unwrap();
        weights.metadata["version"].clone()
    };
    let wanted = version(&best);
    // One of its version.
    let mut weights =
        stagger::report::read_weights(&run.bench.path("other/last.safetensors")).unwrap();
    weights.metadata.insert("version".to_owned(), wanted);
    stagger::report::write_weights(&best, &weights).unwrap();
    fs::remove_dir_all(run.manifest(12).parent().unwrap()).unwrap();
    run.goes_on_from(
        run.before(12),
        "run/best.safetensors is not that of the snapshot of its version: it is written anew from the snapshot of version ",
    );
}
