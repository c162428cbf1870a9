//! Runs that end where they have reached what was asked for.

use std::fs;

use stagger::report::Record;

use crate::support::{Bench, Output};

/// Three batches per epoch.
const RUN: &str = "--batch-size 8 --calibration-batches 0 --schedule dsp --stages 2 --lr 0.01 --lr-schedule constant --warmup-batches 0";

fn succeeds(output: &Output, expected: &str) {
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stdout.contains(expected), "{}", output.stdout);
}

/// Version and accuracy of every evaluation.
fn evaluations(bench: &Bench, run: &str) -> Vec<(usize, f64)> {
    let of = |record: &Record| match record {
        Record::Epoch(epoch) => Some((epoch.version, epoch.test_top1?)),
        _ => None,
    };
    bench.metrics(run).iter().filter_map(of).collect()
}

/// The first of the best.
fn best(evaluations: &[(usize, f64)]) -> (usize, f64) {
    let better = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    evaluations.iter().copied().reduce(better).expect("one")
}

fn version(output: &Output) -> usize {
    let said = output.stdout.split("ended the run at version ").nth(1);
    let said = said.and_then(|rest| rest.split(' ').next());
    said.expect("its end").parse().expect("a version")
}

/// The version at which a run is done.
fn version_reached(output: &Output) -> usize {
    let said = output.stdout.split("\ndone at version ").nth(1);
    let said = said.and_then(|rest| rest.split(' ').next());
    said.expect("its end").parse().expect("a version")
}

#[test]
fn a_run_ends_at_its_target() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN} --epochs 30");
    succeeds(
        &bench.stagger(&format!("{run} --output whole")),
        "done at version 90 ",
    );
    let all = evaluations(&bench, "whole");
    let (reached, target) = best(&all);

    fs::create_dir(bench.path("runs")).unwrap();
    let output = bench.stagger(&format!("{run} --target {target} --output runs/a"));
    succeeds(
        &output,
        &format!(
            "the test accuracy of version {reached}, {target:.1} %, is enough: the run ends\n"
        ),
    );
    succeeds(
        &output,
        "; go on with: stagger train --resume runs/a --target 100\n",
    );
    let end = version(&output);
    assert!((reached..90).contains(&end), "{end}");
    let found = evaluations(&bench, "runs/a");
    let until = all.iter().position(|&(at, _)| at == reached).unwrap();
    assert_eq!(found[..=until], all[..=until]);

    succeeds(
        &bench.stagger("train --resume runs/a"),
        &format!(
            "runs/a: finished at version {end}, as it has met --target {target}; nothing is left to do; to train on, resume it with \
             --target above {}\n",
            (10.0 * target).ceil() / 10.0
        ),
    );
    // What has reached it is finished: the next job begins a run of its own.
    let output = bench.stagger(&format!("{run} --max-batches 3 --resume auto"));
    succeeds(&output, "done at version 3 ");
    // What its time limit has ended is resumed, whatever its last evaluations were. This one finds that nothing is left to do.
    let metrics = bench.path("runs/a/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let limited = text.replace("\"ended_by\":\"target\"", "\"ended_by\":\"time-limit\"");
    assert_ne!(limited, text);
    fs::write(&metrics, &limited).unwrap();
    succeeds(
        &bench.stagger(&format!("{run} --target {target} --resume auto")),
        "runs/a: finished at version ",
    );
    // One that was killed on its last steps takes them now.
    let text = fs::read_to_string(&metrics).unwrap();
    let without_end = text.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(&metrics, format!("{without_end}\n")).unwrap();
    succeeds(
        &bench.stagger("train --resume runs/a"),
        "is enough: the run ends\n",
    );
    // With more to reach, it is the run without a target.
    if target < 100.0 {
        succeeds(
            &bench.stagger("train --resume runs/a --target 100"),
            "done at version 90 ",
        );
        assert_eq!(bench.weights("runs/a"), bench.weights("whole"));
    }
}

#[test]
fn a_run_ends_when_its_accuracy_no_longer_rises() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let output = bench.stagger(&format!(
        "train {data} {RUN} --epochs 1000 --patience 3 --output run"
    ));
    succeeds(&output, "is still the best: the run ends\n");
    let hint = "; go on with: stagger train --resume run --patience ";
    succeeds(&output, hint);
    let hinted = output.stdout.split(hint).nth(1).unwrap();
    let hinted: usize = hinted.lines().next().unwrap().parse().unwrap();
    let end = version(&output);
    let all = evaluations(&bench, "run");
    let marks: Vec<_> = all.iter().filter(|(at, _)| at % 3 == 0).copied().collect();
    // The first that is the third in a row without a better one. How far the stages get by then depends on their speed.
    let is_met = |until: &usize| {
        let (at, _) = best(&marks[..=*until]);
        marks[..=*until].iter().filter(|mark| mark.0 > at).count() >= 3
    };
    let met = (0..marks.len()).find(is_met).expect("three in a row");
    assert!((marks[met].0..3000).contains(&end), "{all:?}, {end}");
    let finished = bench.stagger("train --resume run");
    let said = ", as --patience 3 has run out; nothing is left to do; to train on, resume it with --patience above ";
    succeeds(&finished, said);
    // Evaluations that were made while the stages halted count, too.
    let waited = finished.stdout.split(said).nth(1).unwrap().trim_end();
    let waited: usize = waited.parse().unwrap();
    assert!(waited >= 3, "{waited}");
    succeeds(
        &bench.stagger(&format!("train --resume run --patience {waited}")),
        "nothing is left to do",
    );
    assert!(hinted > waited && hinted >= 6, "{hinted} and {waited}");
    let more = waited + 1;
    let further = bench.stagger(&format!(
        "train --resume run --patience {more} --max-batches 3000"
    ));
    assert!(version_reached(&further) > end, "{}", further.stdout);
    succeeds(
        &bench.stagger("train --resume run --patience 900 --max-seconds 0.3"),
        "the time limit of 0.3 s ended the run at version ",
    );
}

/// The command at the end of a run goes on, also where the last batch of a limit has met a goal.
#[test]
fn a_limit_and_a_goal_at_once_are_both_lifted() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let output = bench.stagger(&format!(
        "train {data} {RUN} --epochs 30 --max-batches 3 --target 1 --output run"
    ));
    let hint =
        "--max-batches 3 ended the run at version 3 of 90; go on with: stagger train --resume run ";
    succeeds(&output, hint);
    let flags = output
        .stdout
        .split(hint)
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let met = evaluations(&bench, "run")
        .iter()
        .any(|(_, top1)| *top1 >= 1.0);
    assert_eq!(flags.contains("--target 100"), met, "{flags}");
    let further = bench.stagger(&format!("train --resume run {flags}"));
    assert!(version_reached(&further) > 3, "{}", further.stdout);
}

#[test]
fn goals_need_evaluations() {
    let bench = Bench::new();
    for (flags, expected) in [
        ("--target 0", "--target 0 is not an accuracy"),
        ("--target 101", "--target 101 is not an accuracy"),
        ("--target NaN", "--target NaN is not an accuracy"),
        ("--patience 0", "--patience"),
        ("--target 50 --evaluate false", "--target"),
        (
            "--patience 2 --emulate equal:10ms",
            "--patience means nothing in an emulated run",
        ),
        (
            "--target 50 --emulate equal:10ms",
            "--target means nothing in an emulated run",
        ),
    ] {
        let output = bench.stagger(&format!("train {flags}"));
        assert_eq!(output.status, 2, "{flags}: {}", output.stdout);
        assert!(
            output.stderr.contains(expected),
            "{flags}: {}",
            output.stderr
        );
        assert!(output.stdout.is_empty(), "{flags}: {}", output.stdout);
    }
}
