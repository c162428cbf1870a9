//! Simulated runs.

use std::fs;

use serde_json::{Value, json};

use crate::support::Bench;

/// A profile of resnet8 whose blocks take 1 to 5 ms forward, twice that backward.
pub fn profile() -> Value {
    let times = |factor: f64| -> Vec<f64> {
        (1..=5)
            .map(|block| f64::from(block) * factor * 1e-3)
            .collect()
    };
    let block = |name: &str| {
        json!({
            "name": name,
            "parameter_bytes": 1000,
            "output_bytes": 2_000_000,
            "graph_bytes": 5_000_000,
        })
    };
    let blocks = ["stem", "layer1.0", "layer2.0", "layer3.0", "head"].map(block);
    json!({
        "format": 1,
        "model": "resnet8",
        "input": [3, 32, 32],
        "classes": 10,
        "samples": 64,
        "dtype": "f32",
        "blocks": blocks,
        "devices": [{
            "name": "cpu",
            "forward": times(1.0),
            "recompute": times(1.0),
            "backward": times(2.0),
            "update": times(0.0),
        }],
    })
}

fn json_of(bench: &Bench, arguments: &str) -> Value {
    let output = bench.stagger(&format!("simulate {arguments} --json"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn a_table_and_a_grid() {
    let bench = Bench::new();
    let output = bench.stagger("simulate dsp(1,1,0;4,2,0) --batches 200 --grid");
    assert_eq!(output.status, 0, "{}", output.stderr);
    insta::assert_snapshot!("simulated", output.stdout);
}

#[test]
fn a_profile_says_cut_and_rate() {
    let bench = Bench::new();
    fs::write(bench.path("profile.json"), profile().to_string()).unwrap();
    // Blocks 1 to 3 recompute: 4 · (1 + 2 + 3) = 24 ms; blocks 4 and 5 take 3 · (4 + 5) = 27 ms.
    let found = json_of(
        &bench,
        "dsp --stages 2 --profile profile.json --batches 100",
    );
    assert_eq!(found["cut"], json!([3, 2]));
    assert_eq!(found["model"], "resnet8");
    let close = |value: &Value, expected: f64| {
        let found = value.as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
    };
    close(&found["batches_per_second"], 1.0 / 0.027);
    close(&found["images_per_second"], 64.0 / 0.027);
    // Half as many samples take half the time; another cut is slower.
    let arguments =
        "dsp --stages 2 --profile profile.json --batches 100 --batch-size 32 --balance 4,1";
    close(
        &json_of(&bench, arguments)["batches_per_second"],
        1.0 / 0.020,
    );
    // Backpropagation takes turns; every batch crosses two links of 5 ms.
    let arguments = "bp --stages 2 --profile profile.json --batches 100 --latency 5ms";
    close(
        &json_of(&bench, arguments)["batches_per_second"],
        1.0 / 0.055,
    );
}

fn batches_per_second(bench: &Bench, arguments: &str) -> f64 {
    let found = json_of(bench, arguments);
    let (rate, exact) = (
        &found["batches_per_second"],
        &found["exact_batches_per_second_of_means"],
    );
    let (rate, exact) = (rate.as_f64().unwrap(), exact.as_f64().unwrap());
    if !arguments.contains("--straggler") {
        assert!((rate / exact - 1.0).abs() < 2e-3, "{arguments}: {found}");
    }
    rate
}

#[test]
fn replicas_share_what_a_stage_takes() {
    let bench = Bench::new();
    let mut given = profile();
    for block in given["blocks"].as_array_mut().unwrap() {
        block["parameter_bytes"] = json!(4_000_000);
    }
    given["links"] = json!([{"latency": 0.001, "per_megabyte": 0.001}]);
    fs::write(bench.path("links.json"), given.to_string()).unwrap();
    let mut given = profile();
    let mut slow = given["devices"][0].clone();
    for pass in ["forward", "recompute", "backward", "update"] {
        for time in slow[pass].as_array_mut().unwrap() {
            *time = json!(2.0 * time.as_f64().unwrap());
        }
    }
    let device = given["devices"][0].clone();
    given["devices"] = json!([device, device, slow]);
    fs::write(bench.path("devices.json"), given.to_string()).unwrap();
    for (arguments, seconds) in [
        ("dsp --stages 2 --replicas 1", 0.040),
        ("dsp --stages 2 --replicas 2", 0.020),
        // The stage without a replica holds the others up.
        ("dsp --stages 2 --replicas 2,1", 0.040),
        ("dp(4)", 0.010),
        ("bp --stages 1 --replicas 4", 0.010),
        // Seven samples of 7 go to the replicas as 3 and 4.
        ("dp(2) --batch-size 7", 0.040 * 4.0 / 7.0),
        // Two messages of the sum of gradients.
        ("dp(2) --latency 5ms", 0.030),
        // Half of 45 ms, and two messages of half of 20 MB.
        ("dp(2) --profile links.json", 0.0225 + 2.0 * (0.010 + 0.001)),
        // 18 ms in stage 0, then half of 27 ms in stage 1, whose second replica is on a device that takes twice as long.
        (
            "bp --stages 2 --replicas 1,2 --profile devices.json --balance 3,2",
            0.018 + 0.027,
        ),
        // Two replicas send their halves of an activation to one.
        (
            "bp --stages 2 --replicas 2,1 --transfer 8ms",
            0.020 + 0.040 + 2.0 * 0.004,
        ),
    ] {
        let found = batches_per_second(&bench, &format!("{arguments} --batches 300"));
        assert!(
            (found * seconds - 1.0).abs() < 2e-3,
            "{arguments}: {found} instead of {}",
            1.0 / seconds
        );
    }
    let found = json_of(&bench, "dsp --stages 2 --replicas 2,1");
    assert_eq!(found["stages"][0]["replicas"], 2);
    assert_eq!(found["stages"][1]["replicas"], 1);
}

/// A straggling stage is slow in all of its replicas, at the same batches, as it is in the runtime.
#[test]
fn replicas_straggle_together() {
    let bench = Bench::new();
    let arguments = "dp(4) --straggler probability=0.5,slowdown=100% --batches 3000";
    let found = batches_per_second(&bench, arguments);
    // One half of the batches takes 20 ms instead of 10; of replicas by themselves nearly all would.
    assert!((found * 0.015 - 1.0).abs() < 0.03, "{found}");
}

#[test]
fn replicas_in_a_table_a_grid_and_a_trace() {
    let bench = Bench::new();
    let output = bench
        .stagger("simulate dsp(1,0;2,0) --replicas 2,1 --batches 200 --grid 4 --trace trace.json");
    assert_eq!(output.status, 0, "{}", output.stderr);
    insta::assert_snapshot!("simulated_replicas", output.stdout);
    let trace: Value =
        serde_json::from_str(&fs::read_to_string(bench.path("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let tracks: Vec<&str> = (events.iter())
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    let expected = [
        "stage 0 (replica 0 of 2)",
        "stage 0 (replica 1 of 2)",
        "stage 1",
    ];
    assert_eq!(tracks, expected);
    for track in 0..3 {
        assert!(
            events
                .iter()
                .any(|event| event["tid"] == track && event["cat"] == "backward")
        );
    }
}

#[test]
fn stragglers_and_random_times_follow_from_the_seed() {
    let bench = Bench::new();
    let arguments =
        "dsp --stages 3 --latency exponential(9ms) --straggler probability=0.5,slowdown=100%";
    let found = json_of(&bench, arguments);
    assert_eq!(found, json_of(&bench, arguments));
    assert_ne!(found, json_of(&bench, &format!("{arguments} --seed 2")));
    let rate = found["batches_per_second"].as_f64().unwrap();
    // Half of all batches take twice as long on each stage.
    assert!((10.0..17.0).contains(&rate), "{rate}");
}

#[test]
fn the_least_staleness_is_found() {
    let bench = Bench::new();
    let found = json_of(&bench, "dsp --stages 4 --keep-busy 99%");
    assert_eq!(found["schedule"], "dsp(m=3,2,1,0)");
    let found = json_of(&bench, "dsp --stages 2 --keep-busy 99% --latency 80ms");
    assert!(
        found["stages"][0]["staleness_max"].as_u64().unwrap() > 3,
        "{found}"
    );
    // Gradients that go down first make the round trip of a message and its answer shorter.
    for (method, found) in [
        ("dsp", "dsp(m=6,4,2,0)"),
        ("dsp+split", "dsp(m=3,2,1,0) + split"),
    ] {
        let arguments = format!("{method} --stages 4 --keep-busy 99% --latency 10ms");
        assert_eq!(json_of(&bench, &arguments)["schedule"], found);
    }
    let never = bench.stagger("simulate dsp --stages 2 --keep-busy 99% --transfer 80ms");
    assert!(
        never
            .stdout
            .starts_with("no staleness of up to 256 batches per hop keeps a stage busy for "),
        "{}",
        never.stdout
    );
}

/// Stages of 40 ms, of which forward passes have a third where nothing is recomputed, evaluate 6 batches and take a snapshot of 20 ms after
/// every 50.
#[test]
fn evaluations_and_snapshots_take_their_time() {
    let bench = Bench::new();
    let pauses =
        "--evaluate-every 50 --evaluation-batches 6 --snapshot-every 50 --snapshot-time 20ms";
    for (schedule, pause) in [
        ("bp --stages 1", 6.0 * 0.040 / 3.0 + 0.020),
        // Each replica has half of every batch.
        ("dp(2)", 6.0 * 0.020 / 3.0 + 0.020),
        // The stage above evaluates first, and then waits for the one below.
        ("bp --stages 2", 6.0 * 0.040 / 3.0 + 0.020),
    ] {
        let rate = |pauses: &str| {
            let flags = format!("{schedule} --warmup 200 --batches 1000 {pauses}");
            let found = json_of(&bench, &flags);
            found["batches_per_second"].as_f64().unwrap()
        };
        let (without, with) = (rate(""), rate(pauses));
        let longer = 50.0 / with - 50.0 / without;
        let about = 0.8 * pause..1.05 * pause;
        assert!(
            about.contains(&longer),
            "{schedule}: {longer} instead of {pause}"
        );
    }
    let output = bench.stagger(&format!(
        "simulate dsp(1,0;2,0) --batches 200 {pauses} --grid 60"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let expected =
        "25.00 if everything always took its mean time without evaluations and snapshots";
    assert!(output.stdout.contains(expected), "{}", output.stdout);
    assert!(output.stdout.contains('E'), "{}", output.stdout);
    for expected in [
        "after every 50 updates each stage evaluates 6 batches\n",
        "after every 50 updates a snapshot holds each stage up for 20.00 ms\n",
    ] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
    let found = json_of(&bench, &format!("dsp(1,0;2,0) --batches 200 {pauses}"));
    assert_eq!(found["evaluations"], json!({"every": 50, "batches": 6}));
    assert_eq!(found["snapshots"], json!({"every": 50, "seconds": 0.02}));
}

#[test]
fn a_trace_is_written_once() {
    let bench = Bench::new();
    let output = bench.stagger("simulate dsp --stages 2 --batches 5 --warmup 0 --trace trace.json");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let trace: Value =
        serde_json::from_str(&fs::read_to_string(bench.path("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let backwards = events.iter().filter(|event| event["cat"] == "backward");
    // 5 batches, and those that keep the stages busy until then.
    assert_eq!(backwards.count(), 2 * 7);
    let again = bench.stagger("simulate dsp --stages 2 --trace trace.json");
    assert_eq!(again.status, 2);
    assert!(
        again.stderr.contains("is there already"),
        "{}",
        again.stderr
    );
}

#[test]
fn wrong_requests_are_one_sentence() {
    let bench = Bench::new();
    let write = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut profile = profile();
        change(&mut profile);
        fs::write(bench.path(name), profile.to_string()).unwrap();
    };
    write("good.json", &|_| ());
    write("future.json", &|profile| profile["format"] = json!(9));
    write("short.json", &|profile| {
        profile["devices"][0]["backward"] = json!([0.001]);
    });
    write("negative.json", &|profile| {
        profile["devices"][0]["forward"][2] = json!(-1.0);
    });
    write("unknown.json", &|profile| profile["speed"] = json!(3));
    write("model.json", &|profile| profile["model"] = json!("resnet9"));
    write("many.json", &|profile| {
        profile["devices"] = json!([
            profile["devices"][0],
            profile["devices"][0],
            profile["devices"][0]
        ]);
    });
    write("blocks.json", &|profile| {
        profile["model"] = json!("resnet14");
    });
    write("samples.json", &|profile| {
        profile["samples"] = json!(u64::MAX);
    });
    write("nothing.json", &|profile| {
        for pass in ["forward", "recompute", "backward", "update"] {
            profile["devices"][0][pass] = json!([0, 0, 0, 0, 0]);
        }
    });
    fs::write(bench.path("half.json"), "{\"format\": 1,").unwrap();
    let cases = [
        "dsp",
        "dsp(1;2)",
        "dp(2) --replicas 3",
        "dsp --stages 2 --replicas 2,3",
        "dsp --stages 3 --replicas 2,1",
        "dsp --stages 2 --replicas 2 --replicas 1",
        "dsp --stages 2 --replicas 0",
        "dsp --stages 2 --replicas 65",
        "dsp --stages 2 --replicas two",
        "dni --stages 2 --replicas 2",
        "dp(8) --profile good.json --batch-size 7",
        "gpipe(4) --stages 2 --replicas 2 --batch-size 7",
        "dsp --stages 2 --replicas 2 --profile many.json",
        "dsp --stages 2 --profile equal:",
        "dsp --stages 2 --profile equal:-3ms",
        "dsp --stages 2 --profile equal:0ms",
        "dsp --stages 2 --profile nowhere.json",
        "dsp --stages 2 --profile .",
        "dsp --stages 2 --profile half.json",
        "dsp --stages 2 --profile future.json",
        "dsp --stages 2 --profile short.json",
        "dsp --stages 2 --profile negative.json",
        "dsp --stages 2 --profile unknown.json",
        "dsp --stages 2 --profile model.json",
        "dsp --stages 2 --profile many.json",
        "dsp --stages 2 --profile blocks.json",
        "dsp --stages 7 --profile good.json",
        "dsp --stages 2 --profile good.json --balance 2,2",
        "dsp --stages 2 --profile good.json --batch-size 0",
        "gpipe(8) --stages 2 --profile good.json --batch-size 7",
        "dsp --stages 2 --balance 2,3",
        "dsp --stages 2 --batches 0",
        "dsp --stages 2 --latency fast",
        "dsp --stages 2 --transfer pareto(5ms,1)",
        "dsp --stages 2 --straggler stage=2,slowdown=1",
        "dsp --stages 2 --grid 0",
        "gpipe(64) --stages 8 --grid 1000",
        "dsp --stages 2 --batches 10000 --trace new.json",
        "dsp --stages 300 --batches 300 --trace new.json",
        "dsp --stages 2 --keep-busy 100%",
        "bp --stages 2 --keep-busy 99%",
        "dsp+accumulate(2) --stages 2 --keep-busy 99%",
        "dsp --stages 2 --batches 18446744073709551615",
        "dsp(m=4,0) --keep-busy 99%",
        "dsp --stages 2 --trace nowhere/trace.json",
        "dsp --stages 2 --grid --json",
        "dsp --stages 2 --evaluate-every 5",
        "dsp --stages 2 --evaluate-every 0 --evaluation-batches 3",
        "dsp --stages 2 --evaluate-every 5 --evaluation-batches 18446744073709551615",
        "dsp --stages 2 --snapshot-time 5ms",
        "dsp --stages 2 --snapshot-every 5 --snapshot-time exponential(5ms)",
        "dp(2) --batch-size 18446744073709551615",
        "dsp --stages 2 --profile samples.json",
        "dsp --stages 2 --profile nothing.json",
    ];
    let said: Vec<String> = (cases.iter())
        .map(|case| {
            let output = bench.stagger(&format!("simulate {case}"));
            assert_eq!((output.status, output.stdout.as_str()), (2, ""), "{case}");
            assert_eq!(
                output.stderr.lines().count(),
                1,
                "{case}: {}",
                output.stderr
            );
            format!("{case}\n  {}", output.stderr.trim_end())
        })
        .collect();
    insta::assert_snapshot!("simulate_refusals", said.join("\n"));
}
