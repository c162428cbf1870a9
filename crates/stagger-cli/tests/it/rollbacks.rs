//! Runs that go back to a snapshot where the loss is not finite: to which one is a function of the run, not of its timing.
#![cfg(unix)]

use std::fs;

use crate::kill::timeless_metrics;
use crate::support::Bench;

/// Delays that make stages and disk meet at other moments.
const DELAYS: [&str; 3] = [
    "",
    "--straggler stage=0,probability=0.5,slowdown=400%",
    "--straggler stage=2,probability=0.5,slowdown=400%",
];

pub fn rolled_back(output: &str) -> Vec<String> {
    let lines = output
        .lines()
        .filter(|line| line.starts_with("rolled back to "));
    lines.map(str::to_owned).collect()
}

#[test]
fn where_a_run_goes_back_to_does_not_depend_on_its_timing() {
    for (method, keep) in [("dsp", 2), ("pipedream", 1), ("1f1b(2)", 3)] {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let run = |name: &str, delay: &str| {
            let run = bench.stagger(&format!(
                "train {data} --schedule {method} --stages 3 --batch-size 8 --epochs 6 --snapshot-every 1 --keep-snapshots {keep} \
                 --calibration-batches 0 --lr 1000 --lr-schedule constant --warmup-batches 0 --on-nan rollback --ema 0.8 --output {name} {delay}"
            ));
            assert_eq!(run.status, 0, "{method}: {}", run.stderr);
            run.stdout
        };
        let first = run("run0", DELAYS[0]);
        assert!(!rolled_back(&first).is_empty(), "{method}: {first}");
        for (number, delay) in DELAYS.iter().enumerate().skip(1) {
            let name = format!("run{number}");
            let other = run(&name, delay);
            assert_eq!(rolled_back(&other), rolled_back(&first), "{method} {delay}");
            for file in [
                "last.safetensors",
                "best.safetensors",
                "average.safetensors",
            ] {
                let read = |run: &str| fs::read(bench.path(run).join(file)).ok();
                assert!(read(&name) == read("run0"), "{method} {delay}: {file}");
            }
            let metrics = |run: &str| timeless_metrics(&bench.path(run));
            assert_eq!(metrics(&name), metrics("run0"), "{method} {delay}");
        }
    }
}

/// A run that is stopped behind the version to which it went back knows later that this version was of no use: it goes back further,
/// and not to what it has trained since.
#[test]
fn a_run_that_is_stopped_after_a_rollback_goes_back_as_if_it_was_not() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    // Without staleness, so that a limit of batches changes no numbers; and with direct sums, whose rounding has such rollbacks.
    let flags = format!(
        "{data} --winograd false --schedule bp --stages 3 --batch-size 8 --snapshot-every 2 --keep-snapshots 30 --calibration-batches 0 --lr 1000 \
         --lr-schedule constant --warmup-batches 0 --on-nan rollback"
    );
    let unbroken = bench.stagger(&format!("train {flags} --epochs 8 --output unbroken"));
    let lines = rolled_back(&unbroken.stdout);
    let versions: Vec<usize> = lines
        .iter()
        .map(|line| {
            let version = line["rolled back to version ".len()..].split(';').next();
            version.unwrap().parse().unwrap()
        })
        .collect();
    // A rollback, and one that goes back further from the same version on, with room to stop between them.
    let at = (1..versions.len())
        .rev()
        .find(|&at| versions[at] < versions[at - 1]);
    let at = at.unwrap_or_else(|| panic!("{}", unbroken.stdout + &unbroken.stderr));
    let stopped_at = versions[at - 1] + 1;
    bench.stagger(&format!(
        "train {flags} --epochs 8 --max-batches {stopped_at} --output stopped"
    ));
    // As if it had gone back for the first of the two.
    let rolled = serde_json::json!({
        "version": versions[at - 1],
        "learning_rate_factor": 0.5_f64.powi(at as i32),
        "rollbacks": at,
        "diverged_at": stopped_at,
    });
    let sealed = stagger::report::checksum::seal_json(serde_json::to_vec_pretty(&rolled).unwrap());
    fs::write(bench.path("stopped/rollback.json"), sealed).unwrap();
    let resume = "train --resume stopped --on-nan rollback --epochs 8";
    let stopped = bench.stagger(&format!("{resume} --max-batches {stopped_at}"));
    assert_eq!(stopped.status, 0, "{} {}", stopped.stdout, stopped.stderr);
    assert!(
        rolled_back(&stopped.stdout).is_empty(),
        "{}",
        stopped.stdout
    );
    let resumed = bench.stagger(&format!("{resume} --max-batches 24"));
    assert_eq!(
        rolled_back(&resumed.stdout),
        lines[at..],
        "{}",
        resumed.stdout
    );
    let weights = |run: &str| fs::read(bench.path(run).join("last.safetensors")).unwrap();
    assert!(weights("stopped") == weights("unbroken"));
    assert_eq!(bench.losses("stopped"), bench.losses("unbroken"));
}

/// A process that is killed right after a rollback goes on from it, also where snapshots behind it are still there, and one whose
/// file of the rollback is gone comes to it again.
#[test]
fn a_rollback_is_on_disk_before_the_run_goes_on() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    // With direct sums, whose rounding has two rollbacks.
    let flags = format!(
        "{data} --winograd false --schedule dsp --stages 3 --batch-size 8 --snapshot-every 2 --keep-snapshots 30 --calibration-batches 0 --lr 300 \
         --lr-schedule constant --warmup-batches 0 --on-nan rollback --ema 0.8"
    );
    let unbroken = bench.stagger(&format!("train {flags} --epochs 8 --output unbroken"));
    let lines = rolled_back(&unbroken.stdout);
    assert!(lines.len() > 1, "{}", unbroken.stdout);
    let file = fs::read_to_string(bench.path("unbroken/rollback.json")).unwrap();
    let rolled: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(
        rolled["rollbacks"].as_u64(),
        Some(lines.len() as u64),
        "{file}"
    );
    let factor = rolled["learning_rate_factor"].as_f64().unwrap();
    assert_eq!(factor, 0.5_f64.powi(lines.len() as i32));

    // Up to there all snapshots are written, however slow the disk is.
    let before = rolled["diverged_at"].as_u64().unwrap() - 1;
    // As a process leaves it that is killed before the run goes on: only what was there at the first rollback, and the file.
    let version = rolled["version"].as_u64().unwrap() as usize;
    let same = |what: &str| {
        for file in ["last.safetensors", "average.safetensors"] {
            let weights = |run: &str| fs::read(bench.path(run).join(file)).unwrap();
            assert!(weights("unbroken") == weights("killed"), "{what}: {file}");
        }
        assert_eq!(bench.losses("killed"), bench.losses("unbroken"), "{what}");
    };
    bench.stagger(&format!(
        "train {flags} --epochs 8 --max-batches {before} --output killed"
    ));
    assert!(
        bench
            .path(&format!("killed/snapshots/v{version:08}"))
            .exists()
            || version == 0
    );
    fs::write(bench.path("killed/rollback.json"), &file).unwrap();
    let resumed =
        bench.stagger("train --resume killed --on-nan rollback --epochs 8 --max-batches 24");
    assert_eq!(resumed.status, 0, "{} {}", resumed.stdout, resumed.stderr);
    let left_out = format!("left out: the run has gone back to version {version} since");
    assert!(resumed.stdout.contains(&left_out), "{}", resumed.stdout);
    assert!(
        rolled_back(&resumed.stdout).is_empty(),
        "{}",
        resumed.stdout
    );
    same("with the file");

    // Without it, with one of another run, or with one that is damaged, from any snapshot.
    let other = bench.stagger(&format!("train {flags} --epochs 8 --seed 2 --output other"));
    assert!(!rolled_back(&other.stdout).is_empty(), "{}", other.stdout);
    fs::copy(
        bench.path("other/rollback.json"),
        bench.path("killed/rollback.json"),
    )
    .unwrap();
    let again = bench.stagger("train --resume killed/snapshots/v00000002");
    assert_eq!(again.status, 0, "{}", again.stderr);
    let left_out = "killed/rollback.json is left out: it is of a run with other options";
    assert!(again.stdout.contains(left_out), "{}", again.stdout);
    assert_eq!(rolled_back(&again.stdout), lines);
    same("with the file of another run");
    fs::write(bench.path("killed/rollback.json"), file.replace('2', "3")).unwrap();
    let again = bench.stagger("train --resume killed/snapshots/v00000002");
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(
        again
            .stdout
            .contains("killed/rollback.json is left out: it"),
        "{}",
        again.stdout
    );
    assert_eq!(rolled_back(&again.stdout), lines);
    same("without the file");
}

/// A snapshot to go back to that is damaged or gone: the run takes it anew from the one before, and comes to the same end.
#[test]
fn a_damaged_snapshot_to_go_back_to_is_taken_anew() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    // Without staleness, so that a limit of batches changes no numbers. It diverges behind version 18, and goes back twice.
    let flags = format!(
        "{data} --winograd false --schedule bp --stages 3 --batch-size 8 --epochs 8 --keep-snapshots 30 --calibration-batches 0 --lr 600 \
         --lr-schedule constant --warmup-batches 0 --on-nan rollback"
    );
    let unbroken = bench.stagger(&format!("train {flags} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    let lines = rolled_back(&unbroken.stdout);
    let versions = ["rolled back to version 18;", "rolled back to version 15;"];
    let are_those = |lines: &[String]| {
        lines.len() == 2
            && (lines.iter().zip(versions)).all(|(line, version)| line.starts_with(version))
    };
    assert!(are_those(&lines), "{}", unbroken.stdout);
    let stopped = bench.stagger(&format!("train {flags} --max-batches 19 --output stopped"));
    assert!(rolled_back(&stopped.stdout).is_empty());
    for (name, version, is_gone) in [
        ("first", 18, false),
        ("gone", 18, true),
        ("second", 15, false),
    ] {
        let copied = std::process::Command::new("cp")
            .args(["-r", "stopped", name])
            .current_dir(&bench.folder)
            .status();
        assert!(copied.is_ok_and(|status| status.success()));
        let snapshot = bench.path(&format!("{name}/snapshots/v{version:08}"));
        if is_gone {
            fs::remove_dir_all(&snapshot).unwrap();
        } else {
            fs::write(snapshot.join("stage-1.safetensors"), "damaged").unwrap();
        }
        let resumed = bench.stagger(&format!("train --resume {name} --max-batches 24"));
        let said = &resumed.stdout;
        assert_eq!(resumed.status, 0, "{said} {}", resumed.stderr);
        let line = format!("there is no whole snapshot of version {version} to go back to");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
        assert!(rolled_back(said).ends_with(&lines), "{said}");
        for file in ["last.safetensors", "best.safetensors"] {
            let read = |run: &str| fs::read(bench.path(run).join(file)).ok();
            assert!(read(name) == read("unbroken"), "{name}: {file}");
        }
        assert_eq!(bench.losses(name), bench.losses("unbroken"), "{name}");
    }
}

/// Flags of a run that learns for some epochs without staleness, and then has a rate at which it diverges.
fn learns_then_diverges(data: &str, epochs: usize) -> String {
    format!(
        "{data} --augment false --schedule bp --stages 3 --batch-size 8 --epochs {} --keep-snapshots 30 --calibration-batches 0 --lr 0.05 \
         --lr-schedule step --lr-steps {epochs} --lr-gamma 1e8 --warmup-batches 0 --on-nan rollback",
        epochs + 2
    )
}

/// Version and accuracy of the best evaluation that a run ends with, and the version of the last one that was the best so far when it
/// was made, whether or not the run went back behind it later.
fn best_evaluations(output: &str) -> (Option<(usize, f64)>, Option<usize>) {
    let best_of = |kept: &[(usize, f64)]| {
        let better = |best: Option<(usize, f64)>, next: &(usize, f64)| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(*next),
        };
        kept.iter().fold(None, better)
    };
    let (mut kept, mut last_best) = (Vec::<(usize, f64)>::new(), None);
    for line in output.lines() {
        if let Some(line) = line.strip_prefix("epoch ") {
            let epoch: usize = line.split('/').next().unwrap().parse().unwrap();
            let top1 = line.split("test").nth(1).unwrap().split('%').next();
            let Ok(top1) = top1.unwrap().trim().parse::<f64>() else {
                continue;
            };
            kept.push((3 * epoch, top1));
            if best_of(&kept) == kept.last().copied() {
                last_best = Some(3 * epoch);
            }
        }
        if let Some(line) = line.strip_prefix("rolled back to version ") {
            let version: usize = line.split(';').next().unwrap().parse().unwrap();
            kept.retain(|evaluation| evaluation.0 <= version);
        }
    }
    (best_of(&kept), last_best)
}

#[test]
fn the_best_weights_are_not_of_a_version_that_was_given_up() {
    // Where no evaluation behind the rollback is better than those before it. Which seeds do so depends on the processor's rounding.
    let has_shown = (1..=12).any(|seed| {
        let bench = Bench::new();
        let flags = learns_then_diverges(&bench.tiny_data(), 4);
        let run = bench.stagger(&format!("train {flags} --seed {seed} --output run"));
        let (best, last_best) = best_evaluations(&run.stdout);
        let weights = stagger::report::read_weights(&bench.path("run/best.safetensors"));
        let found = weights.ok().map(|found| found.metadata["version"].clone());
        let version = best.map(|(version, _)| version);
        assert_eq!(
            found,
            version.map(|version| version.to_string()),
            "{seed}: {}",
            run.stdout
        );
        version.is_some() && version != last_best
    });
    assert!(has_shown, "no run gave up its best evaluation for good");
}

/// A run that starts before a rollback comes to it again; what it had gone back to says nothing about the snapshots it takes until then.
#[test]
fn a_run_that_starts_before_a_rollback_forgets_it() {
    let bench = Bench::new();
    let flags = learns_then_diverges(&bench.tiny_data(), 4);
    let unbroken = bench.stagger(&format!("train {flags} --output unbroken"));
    let lines = rolled_back(&unbroken.stdout);
    let second = lines.get(1).map_or("", String::as_str);
    let version = second.split([' ', ';']).nth(4).unwrap_or_default();
    let version: usize = version.parse().unwrap();
    assert!((4..=12).contains(&version), "{second}");
    bench.stagger(&format!("train {flags} --max-batches 12 --output stopped"));
    // As it was after that one.
    let rolled = serde_json::json!({
        "version": version,
        "learning_rate_factor": 0.25,
        "rollbacks": 2,
        "diverged_at": 17,
    });
    let file = bench.path("stopped/rollback.json");
    let sealed = stagger::report::checksum::seal_json(serde_json::to_vec_pretty(&rolled).unwrap());
    fs::write(&file, sealed).unwrap();
    let early = bench.stagger("train --resume stopped/snapshots/v00000003 --max-batches 12");
    assert_eq!(early.status, 0, "{} {}", early.stdout, early.stderr);
    assert!(!file.exists());
    let resumed = bench.stagger("train --resume stopped --max-batches 18");
    assert_eq!(rolled_back(&resumed.stdout), lines, "{}", resumed.stdout);
    assert_eq!(bench.losses("stopped"), bench.losses("unbroken"));
}

/// A run that was planned shorter has drained its pipeline at its former end. It does so again when it goes back to a version before
/// that, and so does a process that takes over right then.
#[test]
fn a_rollback_behind_a_former_end_drains_the_pipeline_there_again() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!(
        "{data} --augment false --schedule dsp --stages 3 --batch-size 8 --epochs 4 --keep-snapshots 30 --calibration-batches 0 --lr 0.05 \
         --lr-schedule constant --warmup-batches 0 --on-nan rollback"
    );
    for run in ["unbroken", "killed"] {
        let planned = bench.stagger(&format!("train {flags} --output {run}"));
        assert_eq!(planned.status, 0, "{}", planned.stderr);
    }
    let longer = "--epochs 6 --lr-schedule step --lr-steps 4 --lr-gamma 1e8";
    let unbroken = bench.stagger(&format!("train --resume unbroken {longer}"));
    let lines = rolled_back(&unbroken.stdout);
    assert!(!lines.is_empty(), "{} {}", unbroken.stdout, unbroken.stderr);
    let rolled = fs::read_to_string(bench.path("unbroken/rollback.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&rolled).unwrap();
    assert!(value["version"].as_u64() < Some(12), "{rolled}");
    assert_eq!(value["drained_at"], serde_json::json!([12]), "{rolled}");
    // As a process leaves it that is killed before the run goes on.
    for file in ["config.toml", "rollback.json"] {
        fs::copy(
            bench.path("unbroken").join(file),
            bench.path("killed").join(file),
        )
        .unwrap();
    }
    let resumed = bench.stagger(&format!("train --resume killed {longer}"));
    assert!(
        rolled_back(&resumed.stdout).is_empty(),
        "{} {}",
        resumed.stdout,
        resumed.stderr
    );
    assert_eq!(
        bench.losses("killed"),
        bench.losses("unbroken"),
        "{}",
        resumed.stdout
    );
}

/// The file of the last rollback is that of the rates before. Where the run goes on at others from a snapshot behind the rollback,
/// there is nothing in it to say.
#[test]
fn a_rollback_that_the_snapshot_knows_of_is_not_told_again() {
    let bench = Bench::new();
    let flags = learns_then_diverges(&bench.tiny_data(), 4);
    let unbroken = bench.stagger(&format!("train {flags} --output run"));
    assert!(!rolled_back(&unbroken.stdout).is_empty());
    assert!(bench.path("run/rollback.json").is_file());
    for longer in ["--epochs 8 --lr-schedule constant --lr 0.01", "--epochs 9"] {
        let resumed = bench.stagger(&format!("train --resume run {longer}"));
        assert_eq!(resumed.status, 0, "{}", resumed.stderr);
        assert!(
            !resumed.stdout.contains("is left out"),
            "{}",
            resumed.stdout
        );
    }
}
