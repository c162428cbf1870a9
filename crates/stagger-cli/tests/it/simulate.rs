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
    let never = bench.stagger("simulate dsp --stages 2 --keep-busy 99% --transfer 80ms");
    assert!(
        never.stdout.starts_with("no staleness keeps"),
        "{}",
        never.stdout
    );
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
    fs::write(bench.path("half.json"), "{\"format\": 1,").unwrap();
    let cases = [
        "dsp",
        "dsp(1;2)",
        "dp(2)",
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
        "dsp --stages 2 --keep-busy 100%",
        "bp --stages 2 --keep-busy 99%",
        "dsp --stages 2 --trace nowhere/trace.json",
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
