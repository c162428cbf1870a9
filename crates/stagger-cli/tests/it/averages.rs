//! Runs that keep the running mean of their weights.

use stagger::engine::StageState;
use stagger::report::{Record, read_weights};

use crate::support::{Bench, Output};

/// Three batches per epoch.
const RUN: &str = "--batch-size 8 --calibration-batches 0 --lr 0.01 --ema 0.8";

fn averages(bench: &Bench, run: &str) -> Vec<(usize, Option<f64>, Option<f64>)> {
    let of = |record: &Record| match record {
        Record::Epoch(epoch) => Some((epoch.version, epoch.test_top1, epoch.average_top1)),
        _ => None,
    };
    bench.metrics(run).iter().filter_map(of).collect()
}

fn average(bench: &Bench, run: &str) -> StageState {
    let path = bench.path(run).join("average.safetensors");
    read_weights(&path).unwrap().state
}

/// Runs `stagger` with these words and the method.
fn stagger(bench: &Bench, arguments: &str, method: &str) -> Output {
    let mut words: Vec<&str> = arguments.split(' ').collect();
    words.extend(["--schedule", method]);
    let output = bench.stagger_words(&words);
    assert_eq!(output.status, 0, "{}", output.stderr);
    output
}

#[test]
fn the_mean_of_the_weights_is_evaluated_beside_them_and_resumes_to_the_bit() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for (number, method) in ["bp", "dsp", "pipedream", "dsp + split"]
        .into_iter()
        .enumerate()
    {
        let (whole, parts) = (format!("whole{number}"), format!("parts{number}"));
        let run = format!("train {data} {RUN} --stages 2 --epochs 4 --snapshot-every 5");
        let output = stagger(&bench, &format!("{run} --output {whole}"), method);
        assert!(output.stdout.contains(" %, average "), "{}", output.stdout);
        let mean = average(&bench, &whole);
        assert_ne!(mean, bench.weights(&whole));

        // What the run says of it is what its file gives.
        let found = averages(&bench, &whole);
        let (_, _, last) = *found.last().unwrap();
        let output = bench.stagger(&format!("eval --run {whole} --weights average"));
        assert_eq!(output.status, 0, "{}", output.stderr);
        let shown = format!("{:.1} %", last.unwrap());
        assert!(output.stdout.contains(&shown), "{}, {shown}", output.stdout);

        stagger(&bench, &format!("{run} --output {parts}"), method);
        let middle = std::fs::read_dir(bench.path(&format!("{parts}/snapshots"))).unwrap();
        let mut middle: Vec<_> = middle.map(|entry| entry.unwrap().file_name()).collect();
        middle.sort();
        let first = middle[0].to_str().unwrap();
        let output = bench.stagger(&format!("train --resume {parts}/snapshots/{first}"));
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert_eq!(average(&bench, &parts), mean, "{method}");
        assert_eq!(averages(&bench, &parts), found, "{method}");
    }
    // Both curves are in the report.
    let output = bench.stagger("report whole0 -o page.html");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(page.contains("test, mean of the weights"));
    // Of a network that is cut elsewhere, it is the same.
    stagger(
        &bench,
        &format!("train {data} {RUN} --stages 1 --epochs 4 --output one"),
        "bp",
    );
    assert_eq!(average(&bench, "one"), average(&bench, "whole0"));
}

#[test]
fn frozen_stages_have_their_weights_for_a_mean_and_replicas_one_of_all() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN} --epochs 2");
    stagger(
        &bench,
        &format!("{run} --stages 2 --freeze-stages 1 --output frozen"),
        "dsp",
    );
    let (mean, weights) = (average(&bench, "frozen"), bench.weights("frozen"));
    assert_eq!(
        mean.tensors["conv1.weight"],
        weights.tensors["conv1.weight"]
    );
    assert_ne!(mean, weights);

    stagger(
        &bench,
        &format!("{run} --stages 1 --output shared"),
        "dp(2)",
    );
    let found = averages(&bench, "shared");
    assert!(
        found.iter().all(|(.., average)| average.is_some()),
        "{found:?}"
    );
    assert_ne!(average(&bench, "shared"), bench.weights("shared"));
}

/// A run that ends early is evaluated where it ends, by the mean too.
#[test]
fn an_early_end_has_a_mean() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!("train {data} {RUN} --stages 2 --epochs 1000 --patience 2 --output run");
    let output = stagger(&bench, &run, "dsp");
    assert!(
        output.stdout.contains("--patience 2 ended the run"),
        "{}",
        output.stdout
    );
    let found = averages(&bench, "run");
    assert!(
        found.iter().all(|(.., average)| average.is_some()),
        "{found:?}"
    );
}

#[test]
fn a_run_without_it_has_none() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let output = bench.stagger(&format!(
        "train {data} --batch-size 8 --epochs 1 --output run"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(!output.stdout.contains("average"), "{}", output.stdout);
    let output = bench.stagger("eval --run run --weights average");
    assert_eq!(output.status, 2, "{}", output.stdout);
    assert!(
        output.stderr.contains("run has no average.safetensors"),
        "{}",
        output.stderr
    );
    for value in ["0", "1", "-0.5", "NaN"] {
        let output = bench.stagger(&format!("train --ema {value}"));
        assert_eq!(output.status, 2, "{}", output.stdout);
        let expected = format!("--ema {value} is not a share");
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
}
