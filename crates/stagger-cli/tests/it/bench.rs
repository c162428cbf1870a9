//! `stagger bench`.

use serde_json::Value;

use crate::support::Bench;

fn measure(arguments: &str) -> Value {
    let bench = Bench::new();
    let output = bench.stagger(&format!(
        "bench --model resnet8 --input 1x8x8 --batch-size 16 --json {arguments}"
    ));
    assert_eq!(output.status, 0, "{arguments}: {}", output.stderr);
    serde_json::from_str(&output.stdout).expect("one JSON object")
}

fn engines() -> Vec<&'static str> {
    if cfg!(feature = "torch") {
        vec!["cpu", "torch"]
    } else {
        vec!["cpu"]
    }
}

#[test]
fn synchronised_batch_normalisation_is_told() {
    let with = "--schedule dp(2) --batches 2 --warmup 1 --sync-batch-norm";
    let found = measure(with);
    assert_eq!(found["replicas"], "2");
    assert_eq!(found["sync_batch_norm"], true);
    let without = measure(&with.replace("--sync-batch-norm", "--sync-batch-norm false"));
    assert_eq!(without.get("sync_batch_norm"), None);
    let bench = Bench::new();
    let table = bench.stagger(&format!("bench --model resnet8 --input 1x8x8 {with}"));
    let line = "dp(2) · 1 stage with 2 replicas and synchronised batch normalisation (blocks ";
    assert!(table.stdout.contains(line), "{}", table.stdout);
}

#[test]
fn a_straggler_is_slow_and_told() {
    let bench = Bench::new();
    let run =
        "bench --emulate equal:6ms -k 2 --batches 6 --warmup 2 --straggler stage=1,slowdown=200%";
    let output = bench.stagger(&format!("{run} --json"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(found["stragglers"][0], "stage=1,slowdown=200%");
    // What is added to a pass is never slept short, so this holds on any machine.
    let account = &found["accounting"][1];
    let passes = ["forward", "backward"].map(|name| &account[format!("{name}_seconds")]);
    let seconds: f64 = passes.iter().filter_map(|value| value.as_f64()).sum();
    assert!(seconds >= 6.0 * 0.012, "{account}");
    let table = bench.stagger(run).stdout;
    assert!(
        table.contains("slowed down: stage=1,kind=constant,slowdown=200%"),
        "{table}"
    );
    let without = measure("--batches 1 --warmup 0");
    assert_eq!(without.get("stragglers"), None);
    let refused = bench.stagger("bench -k 2 --straggler stage=2,slowdown=200%");
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("stage=2"), "{}", refused.stderr);
}

#[test]
fn the_account_adds_up_to_the_wall_of_each_stage() {
    for engine in engines() {
        let found = measure(&format!(
            "--engine {engine} --batches 200 --warmup 8 --profile-ops"
        ));
        assert_eq!(found["batches"], 200);
        assert_eq!(found["schedule"], "dsp(1,0;2,0)");
        assert_eq!(found["seconds"].as_array().unwrap().len(), 200);
        assert!(found["images_per_second"].as_f64().unwrap() > 0.0);
        let accounts = found["accounting"].as_array().unwrap();
        assert_eq!(accounts.len(), 2);
        for (stage, account) in accounts.iter().enumerate() {
            let seconds = |name: &str| account[format!("{name}_seconds")].as_f64().unwrap();
            let parts = [
                "forward",
                "recompute",
                "backward",
                "update",
                "transfer",
                "loader",
                "receive",
                "send",
                "unaccounted",
            ];
            let sum: f64 = parts.iter().map(|name| seconds(name)).sum();
            assert!((sum - seconds("wall")).abs() < 1e-9);
            // The lower stage runs every forward twice, the upper one none.
            assert_eq!(seconds("recompute") > 0.0, stage == 0);
            assert!(seconds("backward") > 0.0);
        }
        let profile = found["profile"].as_array().unwrap();
        let kernels = |stage: &Value| stage["kernels"].as_array().unwrap().clone();
        let calls = |stage: &Value, name: &str| {
            let mut kernels = kernels(stage).into_iter();
            kernels
                .find(|entry| entry["kernel"] == name)
                .map_or(0, |entry| entry["calls"].as_u64().unwrap())
        };
        assert_eq!(profile.len(), 2);
        for stage in profile {
            // Each of 208 batches, and of the two that stage 0 is ahead, goes back through every convolution of the stage once.
            let convolutions = calls(stage, "convolution backward");
            assert!(
                convolutions > 0 && convolutions % 210 == 0,
                "{convolutions}"
            );
            assert_eq!(calls(stage, "optimizer step"), 210);
        }
    }
}

/// What a step needs, the next one takes over: memory is what it was a thousand batches ago.
#[test]
fn memory_does_not_grow() {
    const ALLOWED_BYTES: i64 = 4 << 20;
    for engine in engines() {
        for schedule in ["bp", "dsp"] {
            let found = measure(&format!(
                "--engine {engine} --schedule {schedule} --batches 1100 --warmup 0"
            ));
            let bytes = |name: &str| found[name].as_i64();
            let (Some(settled), Some(end)) =
                (bytes("settled_resident_bytes"), bytes("resident_bytes"))
            else {
                println!("skipped: this system does not say how much memory is resident");
                return;
            };
            assert!(
                end - settled < ALLOWED_BYTES,
                "{engine}, {schedule}: {settled} bytes after 100 batches, {end} after 1100"
            );
        }
    }
}

#[test]
fn people_get_a_table() {
    let bench = Bench::new();
    let output = bench
        .stagger("bench --model resnet8 --batch-size 8 --batches 3 --warmup 1 --stages 1 -s bp");
    assert_eq!(output.status, 0, "{}", output.stderr);
    for expected in ["resnet8 · bp · 1 stage", "images/s", "unaccounted"] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
}
