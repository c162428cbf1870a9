//! `--emulate`: stages that sleep instead of computing. Nothing here depends on how long a run takes: what is looked at are the
//! durations that stages were to sleep for, orders, counts and words.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use stagger::report::{EpochSummary, Record};
use stagger::schedule::Schedule;

use crate::support::{Bench, is_empty};

fn measure(bench: &Bench, arguments: &str) -> Value {
    let output = bench.stagger(&format!("bench --json --profile-ops {arguments}"));
    assert_eq!(output.status, 0, "{arguments}: {}", output.stderr);
    serde_json::from_str(&output.stdout).expect("one JSON object")
}

/// How often a stage slept for a kind of action, and for how many milliseconds in all.
fn slept(found: &Value, stage: usize, action: &str) -> (u64, f64) {
    let profile = found["profile"].as_array().expect("profiles");
    let of_stage = profile.iter().find(|profile| profile["stage"] == stage);
    let kernels = of_stage.expect("a profile")["kernels"].as_array().unwrap();
    let name = format!("emulated {action}");
    let entry = kernels.iter().find(|entry| entry["kernel"] == *name);
    entry.map_or((0, 0.0), |entry| {
        let seconds = entry["seconds"].as_f64().unwrap();
        (entry["calls"].as_u64().unwrap(), 1e3 * seconds)
    })
}

/// Batches that a measurement trains in all: after those that count, it trains as many as stages are ahead.
fn run_in_all(batches: u64, method: &str, stages: usize) -> u64 {
    let schedule = Schedule::parse(method, Some(stages)).unwrap();
    batches + schedule.lead() as u64
}

fn assert_slept(found: &Value, stage: usize, action: &str, calls: u64, each_ms: f64) {
    let (times, total_ms) = slept(found, stage, action);
    assert_eq!(times, calls, "stage {stage}, {action}");
    let expected = calls as f64 * each_ms;
    // Durations are whole nanoseconds.
    assert!(
        (total_ms - expected).abs() < 1e-6 * (calls + 1) as f64,
        "stage {stage}, {action}: {total_ms} ms and not {expected}"
    );
}

/// A profile of `resnet8` for tiny images on one device: block number b takes b + 1 ms forward, half a millisecond more to recompute
/// and twice as long backward, and every update of a block 0.1 ms.
fn profile(bench: &Bench, links: &Value) -> String {
    let blocks: Vec<Value> = (0..5)
        .map(|block| {
            json!({
                "name": format!("block{block}"),
                "parameter_bytes": 1000,
                "output_bytes": 500_000,
                "graph_bytes": 1000,
            })
        })
        .collect();
    let times = |more: f64, factor: f64| -> Vec<f64> {
        let time = |block: usize| (block as f64 + 1.0 + more) * factor * 1e-3;
        (0..5).map(time).collect()
    };
    let profile = json!({
        "format": 1,
        "model": "resnet8",
        "input": [1, 8, 8],
        "classes": 10,
        "samples": 16,
        "dtype": "f32",
        "blocks": blocks,
        "devices": [{
            "name": "by hand",
            "forward": times(0.0, 1.0),
            "recompute": times(0.5, 1.0),
            "backward": times(0.0, 2.0),
            "update": [1e-4, 1e-4, 1e-4, 1e-4, 1e-4],
        }],
        "links": links,
    });
    fs::write(bench.path("profile.json"), profile.to_string()).unwrap();
    "--emulate profile.json --model resnet8 --input 1x8x8 --batch-size 16 --balance 2,3".to_owned()
}

#[test]
fn eight_stages_sleep_as_long_as_each_other() {
    let bench = Bench::new();
    let found = measure(&bench, "--emulate equal:8ms -k 8 --batches 10 --warmup 16");
    assert_eq!(found["emulated"], "equal:8ms");
    assert_eq!(found["engine"], "emulated");
    assert_eq!(
        (&found["stages"], &found["batches"]),
        (&json!(8), &json!(10))
    );
    let run = run_in_all(26, "dsp", 8);
    for stage in 0..7 {
        assert_slept(&found, stage, "forward", run, 2.0);
        assert_slept(&found, stage, "recompute", run, 2.0);
        assert_slept(&found, stage, "backward", run, 4.0);
        assert_slept(&found, stage, "update", run, 0.0);
    }
    assert_slept(&found, 7, "forward", run, 8.0 / 3.0);
    assert_slept(&found, 7, "recompute", 0, 0.0);
    assert_slept(&found, 7, "backward", run, 16.0 / 3.0);
}

#[test]
fn a_profile_says_what_stages_and_links_take() {
    let bench = Bench::new();
    let links = json!([{"latency": "exponential(1ms)", "per_megabyte": 0.002}]);
    for links in [json!([]), links] {
        let flags = profile(&bench, &links);
        let found = measure(&bench, &format!("{flags} --batches 6 --warmup 2"));
        let run = run_in_all(8, "dsp", 2);
        assert_slept(&found, 0, "forward", run, 1.0 + 2.0);
        assert_slept(&found, 0, "recompute", run, 1.5 + 2.5);
        assert_slept(&found, 0, "backward", run, 2.0 * (1.0 + 2.0));
        assert_slept(&found, 0, "update", run, 0.2);
        // It keeps its graph, and builds it in the forward pass.
        assert_slept(&found, 1, "forward", run, 3.5 + 4.5 + 5.5);
        assert_slept(&found, 1, "backward", run, 2.0 * (3.0 + 4.0 + 5.0));
        assert_slept(&found, 1, "update", run, 0.3);
        // Half of the samples, half of the time; updates are those of whole batches.
        let found = measure(
            &bench,
            &format!("{flags} -s gpipe(2) --batches 6 --warmup 2"),
        );
        let run = run_in_all(8, "gpipe(2)", 2);
        assert_slept(&found, 1, "backward", 2 * run, 3.0 + 4.0 + 5.0);
        assert_slept(&found, 1, "update", run, 0.3);
    }
}

#[test]
fn a_profile_of_another_network_is_refused() {
    let bench = Bench::new();
    let flags = profile(&bench, &json!([]));
    for (change, expected) in [
        (
            "--model resnet14 --balance auto",
            "the profile is of resnet8 for images of 1x8x8 and 10 classes, and the run trains resnet14",
        ),
        (
            "--input 3x8x8",
            "and the run trains resnet8 for images of 3x8x8 and 10 classes",
        ),
        (
            "--classes 9",
            "and the run trains resnet8 for images of 1x8x8 and 9 classes",
        ),
    ] {
        let flag = change.split(' ').next().unwrap();
        let mut words: Vec<&str> = flags.split(' ').collect();
        if let Some(at) = words.iter().position(|word| *word == flag) {
            words.drain(at..at + 2);
        }
        if change.contains("--balance") {
            words.retain(|word| *word != "--balance" && *word != "2,3");
        }
        let output = bench.stagger(&format!("bench {} {change}", words.join(" ")));
        assert_eq!(output.status, 2, "{change}: {}", output.stderr);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let text = fs::read_to_string(bench.path("profile.json")).unwrap();
    for (from, to, expected) in [
        (
            "\"format\":1",
            "\"format\":7",
            "its format is 7, and this version reads format 1",
        ),
        (
            "\"samples\"",
            "\"images\"",
            "it is no profile: unknown field `images`",
        ),
        ("[0.0001,", "[", "update times of device 0"),
    ] {
        fs::write(bench.path("profile.json"), text.replace(from, to)).unwrap();
        let output = bench.stagger(&format!("bench {flags}"));
        assert_eq!(output.status, 2, "{to}: {}", output.stderr);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert!(output.stderr.contains("profile.json"), "{}", output.stderr);
    }
}

/// Whatever a method asks of its stages, emulated ones do it.
#[test]
fn every_method_is_emulated() {
    let bench = Bench::new();
    for (method, micro_batches, recomputes) in [
        ("bp", 1, false),
        ("dsp", 1, true),
        ("dsp+predict", 1, true),
        ("dsp+gap-aware", 1, true),
        ("gpipe(2)", 2, false),
        ("1f1b(2)", 2, false),
        ("zb(2)", 2, false),
        ("dsp+split", 1, true),
        ("pipedream", 1, false),
        ("2bw(3)", 3, false),
        ("pipemare", 1, true),
        ("ddg", 1, false),
        ("fr", 1, true),
        ("fdg", 1, false),
        ("adl(2)", 2, false),
        ("dni", 1, false),
    ] {
        let found = measure(
            &bench,
            &format!("--emulate equal:600us -k 3 -s {method} --batches 6 --warmup 2"),
        );
        let run = run_in_all(8, method, 3);
        let stages = 0..3;
        for stage in stages {
            let calls = |action| slept(&found, stage, action).0;
            assert_eq!(
                calls("forward"),
                run * micro_batches,
                "{method}, stage {stage}"
            );
            assert_eq!(
                calls("backward"),
                run * micro_batches,
                "{method}, stage {stage}"
            );
            assert_eq!(calls("update"), run, "{method}, stage {stage}");
            let splits = method.starts_with("zb") || method.ends_with("split");
            let halves = if splits { run * micro_batches } else { 0 };
            assert_eq!(calls("weights"), halves, "{method}, stage {stage}");
            assert_eq!(
                calls("recompute") > 0,
                recomputes && stage < 2,
                "{method}, stage {stage}"
            );
        }
    }
}

fn epochs(bench: &Bench, run: &str) -> Vec<EpochSummary> {
    let epoch = |record| match record {
        Record::Epoch(epoch) => Some(epoch),
        _ => None,
    };
    bench.metrics(run).into_iter().filter_map(epoch).collect()
}

#[test]
fn training_says_that_it_is_emulated_and_goes_on_so() {
    let bench = Bench::new();
    let begun = bench.stagger(
        "train --emulate equal:2ms -k 3 --batch-size 1000 --epochs 2 --calibration-batches 2 --snapshot-every 5 --output run",
    );
    assert_eq!(begun.status, 0, "{}", begun.stderr);
    let resumed = bench.stagger("train --resume run --epochs 3");
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        resumed.stdout.contains("resumed at version 20 of 30"),
        "{}",
        resumed.stdout
    );
    for output in [&begun.stdout, &resumed.stdout] {
        let figures = ["images/s", "done at", "memory", "time of", "snapshots: "];
        for line in output
            .lines()
            .filter(|line| figures.iter().any(|word| line.contains(word)))
        {
            assert!(line.contains("emulated"), "{line}");
        }
        assert!(
            output.contains("emulated (equal:2ms: stages sleep, and nothing is learned)"),
            "{output}"
        );
        for learned in ["loss", "train ", "test ", "accuracy"] {
            let said = output
                .lines()
                .find(|line| line.contains(learned) && line.contains('%'));
            assert_eq!(said, None);
        }
    }
    let config = fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert!(config.contains("emulate = \"equal:2ms\"\n"), "{config}");
    for key in ["engine", "dtype"] {
        assert!(!config.contains(&format!("{key} = ")), "{config}");
    }
    let records = bench.metrics("run");
    let Some(Record::Run(run)) = records.first() else {
        panic!("no run");
    };
    assert_eq!(run.facts["emulated"], "equal:2ms");
    assert_eq!(run.facts["engine"], "emulated");
    let epochs = epochs(&bench, "run");
    assert_eq!(epochs.len(), 3);
    for epoch in &epochs {
        assert!(epoch.emulated && epoch.test_top1.is_none());
        assert_eq!(epoch.stages.len(), 3);
    }
    // The pipeline is filled: what was in flight at the snapshot went on.
    assert_eq!(epochs[1].stages[0].staleness_max, 4);
    for weights in ["last.safetensors", "best.safetensors"] {
        assert!(!bench.path("run").join(weights).exists(), "{weights}");
    }
}

/// Sleeps are never too short in all, so neither is what a straggler adds to them.
#[test]
fn a_straggler_is_slower_by_its_share_of_what_it_sleeps() {
    let bench = Bench::new();
    let output = bench.stagger(
        "train --emulate equal:4ms --batch-size 1000 --epochs 1 --calibration-batches 0 --straggler stage=0,slowdown=50% \
         --output run",
    );
    assert_eq!(output.status, 0, "{}", output.stderr);
    let epochs = epochs(&bench, "run");
    let [slow, other] = &epochs[0].stages[..] else {
        panic!("two stages");
    };
    assert!(slow.delayed > Duration::ZERO);
    assert_eq!(other.delayed, Duration::ZERO);
    let computed = slow.forward + slow.recompute + slow.backward;
    let least = Duration::from_millis(4).mul_f64(1.5 * epochs[0].batches as f64);
    assert!(computed + Duration::from_micros(1) >= least, "{computed:?}");
}

#[test]
fn what_means_nothing_in_an_emulated_run_is_refused() {
    let bench = Bench::new();
    for flags in [
        "--engine cpu",
        "--engines cpu,cpu",
        "--dtype f32",
        "--device cpu",
        "--devices cpu,cpu",
        "--threads-per-stage 2",
        "--winograd false",
        "--tf32",
        "--deterministic",
        "--balance profile",
        "--transport bytes",
        "--freeze-stages 1",
        "--resume-weights .",
        "--pretrained .",
        "--evaluate",
        "--gap-every 10",
        "--on-nan rollback",
        "--sync-batch-norm --replicas 2",
    ] {
        let output = bench.stagger(&format!("train --emulate equal:1ms {flags} --output run"));
        assert_eq!(output.status, 2, "{flags}: {}", output.stderr);
        let flag = flags.split(' ').next().unwrap();
        let expected = format!("error: {flag} means nothing in an emulated run: ");
        assert!(output.stderr.starts_with(&expected), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    for (flags, expected) in [
        (
            "--classes 18446744073709551615",
            "is not a number of classes to measure with",
        ),
        (
            "--batch-size 18446744073709551615",
            "is not a batch size; give at most",
        ),
    ] {
        let output = bench.stagger(&format!("bench --emulate equal:1ms {flags}"));
        assert_eq!((output.status, output.stdout.as_str()), (2, ""), "{flags}");
        assert!(
            output.stderr.contains(expected),
            "{flags}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    for (flags, expected) in [
        (
            "equal:40",
            "--emulate: `equal:` needs one time, as in `equal:40ms`",
        ),
        ("equal:0ms", "`equal:0ms` is no time above 0"),
        (
            "equal:uniform(1ms,2ms)",
            "is no time above 0 that is always the same",
        ),
        ("nothing.json", "nothing.json cannot be read: No such file"),
        ("~/profile.json", "no shell has replaced the ~"),
        (
            "equal:1ms --replicas 2,3",
            "two neighbours need equal numbers",
        ),
        ("equal:1ms -k 64", "too few for 64 stages"),
        (
            "equal:1ms --replicas 2 --batch-size 18446744073709551615",
            "--batch-size 18446744073709551615 is not a batch size; give at most 4294967295",
        ),
    ] {
        let output = bench.stagger(&format!("train --emulate {flags} --output run"));
        assert_eq!(output.status, 2, "{flags}: {}", output.stderr);
        assert!(
            output.stderr.contains(expected),
            "{flags}: {}",
            output.stderr
        );
        assert_eq!(output.stdout, "");
    }
    assert!(is_empty(bench.folder.path()));
}

/// Replicas sleep for their shares, and what they sleep is what the simulation says that they take.
#[test]
fn replicas_are_emulated() {
    let bench = Bench::new();
    for (flags, expected) in [
        ("-s dsp --replicas 2", "2 stages with 2 replicas"),
        ("-s gpipe(2) --replicas 2,1", "2 stages with 2,1 replicas"),
        ("-s dp(4) -k 1", "1 stage with 4 replicas"),
    ] {
        let output = bench.stagger(&format!(
            "bench --emulate equal:8ms --batches 6 --warmup 2 --batch-size 16 {flags}"
        ));
        assert_eq!(output.status, 0, "{flags}: {}", output.stderr);
        assert!(output.stdout.contains(expected), "{}", output.stdout);
        assert!(output.stdout.contains("emulated"), "{}", output.stdout);
    }
    let flags = "--batch-size 1000 --max-batches 4 --calibration-batches 0 --replicas 2,1";
    let output = bench.stagger(&format!("train --emulate equal:4ms {flags} --output run"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let epochs = epochs(&bench, "run");
    let [shared, alone] = &epochs[0].stages[..] else {
        panic!("two stages");
    };
    let whole = Duration::from_millis(4) * epochs[0].batches as u32;
    let late = Duration::from_micros(1);
    let slept = alone.forward + alone.recompute + alone.backward;
    assert!(slept + late >= whole, "{alone:?}");
    let slept = shared.forward + shared.recompute + shared.backward;
    assert!(2 * (slept + late) >= whole, "{shared:?}");
    let output = bench.stagger("train --resume run --max-batches 8");
    assert_eq!(output.status, 0, "{}", output.stderr);
}

#[test]
fn emulated_runs_have_no_weights_to_look_at() {
    let bench = Bench::new();
    let flags = "--batch-size 1000 --max-batches 4 --calibration-batches 0";
    let output = bench.stagger(&format!("train --emulate equal:1ms {flags} --output run"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let snapshot = fs::read_dir(bench.path("run/snapshots"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let snapshot = format!("run/snapshots/{}", snapshot.file_name().to_str().unwrap());
    for command in [
        "eval --run run".to_owned(),
        "predict --run run picture.png".to_owned(),
        "weights run out.safetensors".to_owned(),
        format!("weights {snapshot} out.safetensors"),
        format!("weights {snapshot}/stage-0.safetensors out.safetensors"),
        "train --resume-weights run --output other".to_owned(),
        format!("train --pretrained {snapshot} --output other"),
    ] {
        let output = bench.stagger(&command);
        assert_eq!(output.status, 2, "{command}: {}", output.stdout);
        let expected =
            "is of an emulated run, whose stages slept and learned nothing: it has no weights";
        assert!(
            output.stderr.contains(expected),
            "{command}: {}",
            output.stderr
        );
    }
    for other in ["out.safetensors", "other"] {
        assert!(!bench.path(other).exists(), "{other}");
    }
}

#[test]
fn a_run_stays_what_it_is_when_it_is_resumed() {
    let bench = Bench::new();
    bench.train("real", "");
    let output = bench.stagger("train --resume real --max-batches 8 --emulate equal:1ms");
    assert_eq!(output.status, 2, "{}", output.stdout);
    let expected = "--emulate was not set and is \"equal:1ms\" now; a resumed run has to be the run that it was; leave the flag out";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    let flags = "--batch-size 1000 --max-batches 4 --calibration-batches 0";
    let output = bench.stagger(&format!("train --emulate equal:1ms {flags} --output run"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let output = bench.stagger("train --resume run --max-batches 8 --emulate equal:2ms");
    assert_eq!(output.status, 2, "{}", output.stdout);
    let expected = "--emulate was \"equal:1ms\" and is \"equal:2ms\" now";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

#[test]
fn a_comparison_says_that_it_is_emulated() {
    let bench = Bench::new();
    let output = bench.stagger(
        "compare bp dsp --emulate equal:1ms --batch-size 500 --epochs 1 --slowdowns 0,50 --output out",
    );
    assert_eq!(output.status, 0, "{}", output.stderr);
    let note = "Emulated (equal:1ms): stages slept for their durations and learned nothing";
    for expected in [
        "emulated (equal:1ms)",
        note,
        "The stages of every method take that long for a batch",
        "images/s (emulated) at a slow-down of",
    ] {
        assert!(
            output.stdout.contains(expected),
            "{expected}: {}",
            output.stdout
        );
    }
    for line in output.stdout.lines().filter(|line| line.starts_with('[')) {
        assert!(line.contains("images/s (emulated)"), "{line}");
    }
    let read = |name: &str| fs::read_to_string(bench.path("out").join(name)).unwrap();
    let found: Value = serde_json::from_str(&read("compare.json")).unwrap();
    assert_eq!(found["emulated"], "equal:1ms");
    assert_eq!(found["results"][1]["final_top1"], Value::Null);
    assert!(
        read("compare.csv")
            .lines()
            .skip(1)
            .all(|line| line.ends_with(",true"))
    );
    let page = read("report.html");
    assert!(
        page.contains(note) && !page.contains("Training loss"),
        "{page}"
    );
    let refused = bench.stagger("compare bp dsp --emulate equal:1ms --engine cpu --output other");
    assert_eq!(refused.status, 2, "{}", refused.stdout);
    assert!(
        refused
            .stderr
            .contains("--engine means nothing in an emulated run"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_comparison_shows_replicas() {
    let bench = Bench::new();
    let flags = "--emulate equal:1ms --batch-size 500 --max-batches 4";
    let compare = |arguments: &str| {
        let output = bench.stagger(&format!("compare {arguments} {flags}"));
        assert_eq!(output.status, 0, "{}", output.stderr);
        output.stdout
    };
    let row = |text: &str, method: &str| {
        let begins = |line: &&str| line.starts_with(method);
        let line = text
            .lines()
            .find(begins)
            .unwrap_or_else(|| panic!("{method}: {text}"));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let all = compare("bp dsp --replicas 2,1 --output all");
    assert!(
        all.contains(" · 2 stages with 2,1 replicas · emulated"),
        "{all}"
    );
    assert_eq!(row(&all, "method")[1], "replicas");
    assert_eq!(
        (&*row(&all, "bp ")[1], &*row(&all, "dsp ")[1]),
        ("2,1", "2,1")
    );
    let some = compare("bp dp(2) --output some");
    assert!(some.contains(" · 2 stages · emulated"), "{some}");
    assert_eq!(
        (&*row(&some, "bp ")[1], &*row(&some, "dp(2) ")[1]),
        ("1", "2")
    );
    let none = compare("bp dsp --output none");
    assert!(!none.contains("replicas"), "{none}");
    let csv = fs::read_to_string(bench.path("some/compare.csv")).unwrap();
    assert!(csv.contains("\ndp(2),dp(2),2,"), "{csv}");
    let page = fs::read_to_string(bench.path("all/report.html")).unwrap();
    assert!(
        page.contains("with 2,1 replicas") && page.contains("2,1</td>"),
        "{page}"
    );
}
