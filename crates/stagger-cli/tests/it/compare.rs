//! `stagger compare`: runs, resumes, and refuses.

use std::fs;

use serde_json::Value;
use stagger::report::Record;

use crate::support::{Bench, Output};

const TINY: &str = "--batch-size 8 --max-batches 6 --eval-batch-size 250 --lr 0.01 --output out";

fn compare(bench: &Bench, arguments: &str) -> Output {
    bench.stagger(&format!("compare {arguments} {TINY}"))
}

fn json(bench: &Bench) -> Value {
    let text = fs::read_to_string(bench.path("out/compare.json")).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn two_methods_with_two_seeds() {
    let bench = Bench::new();
    let output = compare(&bench, "bp dsp --seeds 1,2 --target 1");
    assert_eq!(output.status, 0, "{}", output.stderr);

    // The second seed turns the order of the methods round.
    let order: Vec<&str> = output
        .stdout
        .lines()
        .filter(|line| line.starts_with('['))
        .filter_map(|line| Some(line.split_once("] ")?.1.split_once(": ")?.0))
        .collect();
    assert_eq!(
        order,
        ["bp, seed 1", "dsp, seed 1", "dsp, seed 2", "bp, seed 2"]
    );
    for expected in [
        "images/s",
        "× bp",
        "2/2",
        "there is none, so the baselines run at their best",
    ] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }

    let found = json(&bench);
    let results = found["results"].as_array().unwrap();
    assert_eq!(results[0]["speedup"], 1.0);
    assert_eq!(results[1]["schedule"], "dsp(1,0;2,0)");
    assert_eq!(results[1]["done"], 2);
    assert_eq!(results[1]["staleness"][0]["max"], 2);
    // Of six batches, the first has run ahead by none and the second by one.
    assert_eq!(
        results[1]["staleness"][0]["counts"],
        serde_json::json!([2, 2, 8])
    );
    assert!(results[1]["final_top1"]["mean"].as_f64().unwrap() > 0.0);

    // What is compared is what `train` does.
    bench.train("alone", "--schedule dsp --seed 2 --max-batches 6");
    assert_eq!(bench.losses("alone"), bench.losses("out/runs/dsp-seed2"));
    let repeated = found["runs"][2]["command"].as_str().unwrap();
    assert_eq!(
        repeated,
        "stagger train --config out/configs/dsp-seed2.toml"
    );

    let page = fs::read_to_string(bench.path("out/report.html")).unwrap();
    assert!(
        page.contains("stagger compare bp dsp --seeds 1,2"),
        "{page}"
    );
    assert!(
        fs::read_to_string(bench.path("out/compare.csv"))
            .unwrap()
            .starts_with("method,")
    );
}

#[test]
fn only_what_is_missing_is_run_again() {
    let bench = Bench::new();
    assert_eq!(compare(&bench, "bp dsp --evaluate false").status, 0);
    let metrics = bench.path("out/runs/dsp-seed1/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    let (without_end, _) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(&metrics, format!("{without_end}\n")).unwrap();
    let kept = fs::read(bench.path("out/runs/bp-seed1/metrics.jsonl")).unwrap();

    let output = compare(&bench, "bp dsp --evaluate false");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let line = |start: &str| {
        let mut lines = output.stdout.lines();
        lines
            .find(|line| line.starts_with(start))
            .expect("a line")
            .to_owned()
    };
    assert!(line("[1/2] bp").ends_with("(kept)"), "{}", output.stdout);
    assert!(!line("[2/2] dsp").ends_with("(kept)"), "{}", output.stdout);
    assert_eq!(
        fs::read(bench.path("out/runs/bp-seed1/metrics.jsonl")).unwrap(),
        kept
    );
    assert!(matches!(
        bench.metrics("out/runs/dsp-seed1").last(),
        Some(Record::End(_))
    ));
    // No evaluation was asked for.
    assert_eq!(json(&bench)["results"][0]["final_top1"], Value::Null);

    // Another request does not mix with this one.
    let other = compare(&bench, "bp dsp");
    assert_eq!(other.status, 2, "{}", other.stdout);
    assert_eq!(
        other.stderr,
        "error: out holds another comparison: `evaluate` is false there and true here; choose another \
         --output, or ask for the same\n"
    );
}

#[test]
fn a_failed_run_is_a_row() {
    let bench = Bench::new();
    let output = bench.stagger(
        "compare bp dsp --batch-size 8 --max-batches 50 --lr 1e30 --warmup-batches 0 --output out",
    );
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(
        output.stderr.contains("2 of 2 runs failed"),
        "{}",
        output.stderr
    );
    let found = json(&bench);
    for at in 0..2 {
        let error = found["results"][at]["failures"][0]["error"]
            .as_str()
            .unwrap();
        assert!(error.contains("training diverged"), "{error}");
    }
    let page = fs::read_to_string(bench.path("out/report.html")).unwrap();
    assert!(page.contains("training diverged"));
}

#[test]
fn a_time_limit_ends_a_run_as_if_it_had_been_planned() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let output = bench.stagger(&format!(
        "compare dsp {data} --batch-size 8 --epochs 100000 --seconds 0.3 --lr-schedule constant --lr 0.01 \
         --warmup-batches 0 --output out"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let records = bench.metrics("out/runs/dsp-seed1");
    let Some(Record::End(end)) = records.last() else {
        panic!("no end")
    };
    assert!(!end.interrupted && end.error.is_none() && end.version > 0);
    assert_eq!(bench.losses("out/runs/dsp-seed1").len(), end.version);
    let mut epochs = records.iter().rev().filter_map(|record| match record {
        Record::Epoch(epoch) => Some(epoch),
        _ => None,
    });
    let last = epochs.next().expect("an epoch");
    assert_eq!(last.version, end.version);
    assert!(last.test_top1.is_some(), "the end has been evaluated");
}
