//! Every command that shows a cut shows the one that training takes.

use std::fs;

use serde_json::{Value, json};
use stagger::model::Model;

use crate::support::Bench;

/// A profile of a model whose blocks all take as long.
fn profile(name: &str) -> Value {
    let model = Model::by_name(name, [3, 32, 32], 10).unwrap();
    let blocks = model.blocks.iter().map(|block| {
        json!({"name": block.name, "parameter_bytes": 1000, "output_bytes": 1000, "graph_bytes": 1000})
    });
    let times = vec![0.001; model.blocks.len()];
    json!({
        "format": 1,
        "model": name,
        "input": [3, 32, 32],
        "classes": 10,
        "samples": 4,
        "dtype": "f32",
        "blocks": blocks.collect::<Vec<_>>(),
        "devices": [{
            "name": "cpu", "forward": times, "recompute": times, "backward": times, "update": times,
        }],
    })
}

/// What stands between two words of a text.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text
        .split_once(before)
        .and_then(|(_, rest)| rest.split_once(after));
    found
        .unwrap_or_else(|| panic!("no `{before}`…`{after}` in {text}"))
        .0
}

#[test]
fn summary_simulate_and_train_show_one_cut() {
    let bench = Bench::new();
    fs::write(bench.path("p.json"), profile("resnet32").to_string()).unwrap();
    let mut cuts = Vec::new();
    let mut engines = vec![
        "",
        "--winograd true",
        "--winograd false",
        "--engine cpu --winograd=false",
    ];
    if cfg!(feature = "torch") {
        engines.extend(["--engine torch", "--engines cpu,torch"]);
    }
    for engine in engines {
        let run = |command: &str| {
            let output = bench.stagger(command);
            assert_eq!(output.status, 0, "{command}: {}", output.stderr);
            output.stdout
        };
        let summary = run(&format!("summary resnet32 --stages 2 {engine}"));
        let summary = between(&summary, "cut into ", "\n");
        let simulated = run(&format!(
            "simulate dsp --stages 2 --profile p.json --balance auto --json {engine}"
        ));
        let simulated: Value = serde_json::from_str(&simulated).unwrap();
        let sizes: Vec<String> = (simulated["cut"].as_array().unwrap().iter())
            .map(ToString::to_string)
            .collect();
        assert_eq!(sizes.join(","), summary, "{engine}");
        let trained = run(&format!(
            "train --model resnet32 --batch-size 4 --max-batches 1 --calibration-batches 0 --evaluate false \
             --keep-snapshots 0 --output run{} {engine}",
            cuts.len()
        ));
        assert_eq!(between(&trained, "(blocks ", ")"), summary, "{engine}");
        cuts.push(summary.to_owned());
    }
    assert_eq!((&cuts[0], &cuts[2]), (&cuts[1], &cuts[3]));
    assert_ne!(cuts[0], cuts[2]);
    // Emulated stages stand for those of the default engine.
    let emulated =
        bench.stagger("bench --model resnet32 -b 4 --batches 1 --warmup 0 --emulate p.json");
    assert_eq!(emulated.status, 0, "{}", emulated.stderr);
    assert_eq!(between(&emulated.stdout, "(blocks ", ")"), cuts[0]);
}

#[test]
fn a_summary_says_what_its_times_are_estimated_for() {
    let bench = Bench::new();
    for (engine, expected) in [
        (
            "",
            "time: estimated for engine cpu; a multiply-add costs 1, an element of any other layer 200,",
        ),
        (
            "--winograd false",
            "time: estimated for engine cpu with direct sums; a multiply-add costs 1, an element of any other layer 50,",
        ),
    ] {
        let output = bench.stagger(&format!("summary resnet20 {engine}"));
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
}

/// Engines that a run is refused are refused, and those that change nothing.
#[test]
fn engines_of_no_estimate_are_refused() {
    let bench = Bench::new();
    fs::write(bench.path("p.json"), profile("resnet8").to_string()).unwrap();
    let simulate = "simulate dsp --stages 2";
    for (command, expected) in [
        (
            "summary resnet8 --engine gpu".to_owned(),
            "there is no engine `gpu`",
        ),
        (
            "summary resnet8 --engine cpu --engines cpu,cpu".to_owned(),
            "--engines",
        ),
        ("summary resnet8 --engines cpu".to_owned(), "--engines"),
        ("summary resnet8 --balance profile".to_owned(), "profile"),
        (
            "summary resnet8 --batch-size 0".to_owned(),
            "--batch-size is 0; give a whole number of at least 1",
        ),
        (
            "summary resnet8 --batch-size 18446744073709551615".to_owned(),
            "is not a batch size",
        ),
        (
            format!("{simulate} --winograd false"),
            "--winograd does nothing with --profile equal:…",
        ),
        (
            format!("{simulate} --profile p.json --engine cpu"),
            "--engine does nothing with --balance profile",
        ),
        (
            format!("{simulate} --profile p.json --balance 3,2 --engines cpu,cpu"),
            "--engines does nothing with --balance 3,2",
        ),
        (
            format!("{simulate} --profile p.json --balance auto --engine gpu"),
            "there is no engine `gpu`",
        ),
    ] {
        let output = bench.stagger(&command);
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{command}"
        );
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{command}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains(expected),
            "{command}: {}",
            output.stderr
        );
    }
}
