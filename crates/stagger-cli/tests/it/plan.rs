//! Plans before runs.

mod devices;

use std::fs;

use serde_json::{Value, json};

use crate::simulate::profile;
use crate::support::Bench;

fn with_profile(change: impl FnOnce(&mut Value)) -> Bench {
    let bench = Bench::new();
    let mut profile = profile();
    change(&mut profile);
    fs::write(bench.path("p.json"), profile.to_string()).unwrap();
    bench
}

fn planned(bench: &Bench, arguments: &str) -> Value {
    let output = bench.stagger(&format!(
        "plan --profile p.json --json --top 100 {arguments}"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("JSON")
}

fn rate(plan: &Value) -> f64 {
    plan["images_per_second"].as_f64().unwrap()
}

fn plan_of<'a>(planned: &'a Value, schedule: &str) -> &'a Value {
    let plans = planned["plans"].as_array().unwrap();
    let found = plans.iter().find(|plan| plan["schedule"] == schedule);
    found.unwrap_or_else(|| panic!("{schedule} in {planned}"))
}

#[test]
fn a_table_with_a_command() {
    let bench = with_profile(|_| ());
    let output = bench.stagger("plan --profile p.json --speeds 1,1 --what-if");
    assert_eq!(output.status, 2);
    let output = bench.stagger("plan --profile p.json --speeds 1,1,0.5");
    assert_eq!(output.status, 0, "{}", output.stderr);
    insta::assert_snapshot!("planned", output.stdout);
}

/// On one device nothing beats backpropagation; the command that is printed runs.
#[test]
fn a_plan_can_be_run() {
    let bench = with_profile(|_| ());
    assert_eq!(planned(&bench, "")["best"]["schedule"], "bp");
    let found = planned(&bench, "--speeds 1,1 --batch-size 16");
    let command = found["best"]["command"].as_str().unwrap();
    let command = command.strip_prefix("stagger ").unwrap().replace('\'', "");
    let run = bench.stagger(&format!(
        "{command} --max-batches 2 --calibration-batches 0 --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
}

#[test]
fn rates_are_those_of_the_simulator() {
    let bench = with_profile(|_| ());
    let found = planned(&bench, "--speeds 1,1");
    // 45 ms on one device; 27 ms on the slower of two stages under DSP, 24 ms without a recompute.
    assert!(
        (found["one_device_images_per_second"].as_f64().unwrap() * 0.045 / 64.0 - 1.0).abs() < 1e-6
    );
    for (schedule, seconds) in [
        ("dsp(m=1,0)", 0.027),
        ("pipedream", 0.027),
        ("dp(2)", 0.0225),
    ] {
        let found = rate(plan_of(&found, schedule));
        assert!(
            (found * seconds / 64.0 - 1.0).abs() < 1e-3,
            "{schedule}: {found}"
        );
    }
}

fn with_replicas<'a>(planned: &'a Value, schedule: &str, replicas: usize) -> &'a Value {
    let plans = planned["plans"].as_array().unwrap();
    let found = plans.iter().find(|plan| {
        let counts = plan["replicas"].as_array().unwrap();
        plan["schedule"] == schedule && counts.iter().all(|count| *count == replicas)
    });
    found.unwrap_or_else(|| panic!("{schedule} with {replicas} replicas in {planned}"))
}

#[test]
fn stages_with_replicas_are_planned_and_can_be_run() {
    let bench = with_profile(|_| ());
    let found = planned(&bench, "--speeds 1,1,1,1");
    // Stages of 24 and 27 ms, whose replicas take half of that.
    for (schedule, seconds) in [
        ("dsp(m=1,0)", 0.0135),
        ("pipedream", 0.0135),
        ("bp", 0.0225),
        ("dp(4)", 0.01125),
    ] {
        let replicas = if schedule == "dp(4)" { 4 } else { 2 };
        let plan = with_replicas(&found, schedule, replicas);
        assert_eq!(plan["devices"].as_array().unwrap().len(), 4, "{plan}");
        let rate = rate(plan);
        // Backpropagation takes turns, with a recompute nowhere.
        assert!(
            (rate * seconds / 64.0 - 1.0).abs() < 2e-3,
            "{schedule}: {rate}"
        );
    }
    let found = planned(&bench, "--speeds 1,1,1,1 --batch-size 16");
    let plan = with_replicas(&found, "dsp(m=1,0)", 2);
    let command = plan["command"].as_str().unwrap();
    assert!(command.contains(" --replicas 2 "), "{command}");
    let command = command.strip_prefix("stagger ").unwrap().replace('\'', "");
    let run = bench.stagger(&format!(
        "{command} --max-batches 2 --calibration-batches 0 --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
}

/// Where one block takes most of the time, and the others have the parameters, that block is shared out and the others are not.
#[test]
fn replicas_of_one_stage_are_planned_and_can_be_run() {
    let bench = with_profile(|profile| {
        for pass in ["forward", "recompute", "backward"] {
            profile["devices"][0][pass] = json!([0.012, 0.001, 0.001, 0.001, 0.001]);
        }
        for block in 1..5 {
            profile["blocks"][block]["parameter_bytes"] = json!(40_000_000);
        }
        profile["links"] = json!([{"latency": 0.0001, "per_megabyte": 0.001}]);
    });
    let found = planned(&bench, "--speeds 1,1,1 --batch-size 16");
    let best = &found["best"];
    assert_eq!(best["replicas"], json!([2, 1]), "{best}");
    assert!(found["simulated_plans"].as_u64().unwrap() < 100, "{found}");
    let command = best["command"].as_str().unwrap();
    assert!(command.contains(" --replicas 2,1 "), "{command}");
    let command = command.strip_prefix("stagger ").unwrap().replace('\'', "");
    let run = bench.stagger(&format!(
        "{command} --max-batches 2 --calibration-batches 0 --output run"
    ));
    assert_eq!(run.status, 0, "{}", run.stderr);
    let table = bench.stagger("plan --profile p.json --speeds 1,1,1");
    assert!(table.stdout.contains("  2,1  "), "{}", table.stdout);
}

/// Of a method with micro-batches a plan names one number of them, which is no larger than it has to be.
#[test]
fn numbers_of_micro_batches_are_tried() {
    let bench = with_profile(|_| ());
    let of = |batch_size: usize, method: &str| {
        let found = planned(&bench, &format!("--speeds 1,1 --batch-size {batch_size}"));
        let plans = found["plans"].as_array().unwrap().iter();
        let schedules = plans.map(|plan| plan["schedule"].as_str().unwrap().to_owned());
        schedules
            .filter(|schedule| schedule.starts_with(method))
            .collect::<Vec<_>>()
    };
    // Micro-batches have at least a sixteenth of the 64 samples that were measured.
    assert_eq!(of(64, "gpipe"), ["gpipe(16)"]);
    assert_eq!(of(32, "1f1b"), ["1f1b(8)"]);
    assert_eq!(of(8, "gpipe"), ["gpipe(2)"]);
    assert_eq!(of(7, "gpipe"), [""; 0]);
    // It never waits, whatever their number is.
    assert_eq!(of(64, "2bw"), ["2bw(2)"]);
    let bf16 = with_profile(|profile| profile["dtype"] = json!("bf16"));
    let found = planned(&bf16, "");
    let command = found["best"]["command"].as_str().unwrap();
    assert!(command.contains("--engine torch --dtype bf16"), "{command}");
    let direct = with_profile(|profile| {
        profile["devices"][0]["threads"] = json!(2);
        profile["devices"][0]["winograd"] = json!(false);
    });
    let found = planned(&direct, "");
    let command = found["best"]["command"].as_str().unwrap();
    let flags = " --threads-per-stage 2 --winograd false";
    assert!(command.contains(flags), "{command}");
    let mixed = with_profile(|profile| {
        let device = &mut profile["devices"][0];
        device["engine"] = json!("cpu");
        let mut other = device.clone();
        other["engine"] = json!("torch");
        profile["devices"].as_array_mut().unwrap().push(other);
    });
    let found = planned(&mixed, "");
    let plans = found["plans"].as_array().unwrap().iter();
    let commands: Vec<_> = plans
        .map(|plan| plan["command"].as_str().unwrap())
        .collect();
    // Replicas of a stage have one engine.
    assert!(
        commands.iter().all(|command| !command.contains("dp(2)")),
        "{commands:?}"
    );
    let pipelines = commands
        .iter()
        .filter(|command| command.contains("--stages 2"));
    assert!(
        pipelines.clone().count() > 0
            && pipelines
                .clone()
                .all(|command| command.contains(" --engines cpu,torch")),
        "{commands:?}"
    );
}

/// Replicas wait for the slowest of them: those of a stage are equally fast where that can be.
#[test]
fn the_slowest_replica_of_a_stage_counts() {
    let bench = with_profile(|_| ());
    let found = planned(&bench, "--speeds 1,0.5");
    let rate_of = |plan: &Value| rate(plan) * 0.045 / 64.0;
    assert!((rate_of(with_replicas(&found, "dp(2)", 2)) - 1.0).abs() < 1e-3);
    let found = planned(&bench, "--speeds 1,0.5,1,0.5");
    let plan = with_replicas(&found, "dsp(m=1,0)", 2);
    assert_eq!(plan["devices"], json!([0, 2, 1, 3]));
    // 40 ms in stage 0, and 15 ms at half the speed in stage 1, each on two devices.
    assert_eq!(plan["cut"], json!([4, 1]));
    assert!((rate(plan) * 0.020 / 64.0 - 1.0).abs() < 2e-3, "{plan}");
    assert!((rate_of(with_replicas(&found, "dp(2)", 2)) - 2.0).abs() < 1e-3);
    // A device that is slowed down slows the stage that has a replica on it.
    let slowed = planned(
        &bench,
        "--speeds 1,0.5,1,0.5 --straggler stage=2,slowdown=100%",
    );
    assert!((rate_of(with_replicas(&slowed, "dp(2)", 2)) - 1.0).abs() < 1e-3);
}

/// A slow link asks for staleness, and takes data parallelism its speed.
#[test]
fn links_and_stragglers_change_the_plan() {
    let bench = with_profile(|profile| {
        for block in profile["blocks"].as_array_mut().unwrap() {
            block["parameter_bytes"] = json!(4_000_000);
        }
    });
    let near = planned(&bench, "--speeds 1,1");
    let far = planned(&bench, "--speeds 1,1 --latency 40ms");
    assert!(rate(plan_of(&far, "dp(2)")) < 0.4 * rate(plan_of(&near, "dp(2)")));
    let stale = far["plans"].as_array().unwrap().iter().find(|plan| {
        plan["schedule"].as_str().unwrap().starts_with("dsp")
            && plan["staleness"].as_u64().unwrap() > 1
    });
    let stale = stale.expect("DSP with more staleness");
    assert!(
        rate(stale) > 0.98 * rate(plan_of(&near, "dsp(m=1,0)")),
        "{stale}"
    );
    let slowed = planned(&bench, "--speeds 1,1 --straggler stage=0,slowdown=100%");
    assert!(rate(&slowed["best"]) < 0.8 * rate(&near["best"]));
}

#[test]
fn memory_rules_methods_out() {
    let bench = with_profile(|_| ());
    let all = planned(&bench, "--speeds 1,1");
    let tight = planned(&bench, "--speeds 1,1 --memory 40MiB");
    assert!(!tight["too_large"].as_array().unwrap().is_empty());
    assert!(tight["plans"].as_array().unwrap().len() < all["plans"].as_array().unwrap().len());
    for plan in tight["plans"].as_array().unwrap() {
        assert!(plan["memory_bytes"].as_u64().unwrap() <= 40 << 20, "{plan}");
    }
    let none = bench.stagger("plan --profile p.json --speeds 1,1 --memory 1KiB");
    assert_eq!(none.status, 2);
    assert!(none.stderr.contains("within the memory"), "{}", none.stderr);
}

#[test]
fn another_device_is_planned_for() {
    let bench = with_profile(|_| ());
    let output = bench.stagger("plan --profile p.json --speeds 1,1 --json");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let words = [
        "plan",
        "--profile",
        "p.json",
        "--speeds",
        "1,1",
        "--json",
        "--what-if",
        "+1 device like 0",
    ];
    let output = bench.stagger_words(&words);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(
        rate(&found["what_if"]["best"]) > rate(&found["best"]),
        "{found}"
    );
    let three = planned(&bench, "--speeds 1,1,1");
    assert_eq!(rate(&found["what_if"]["best"]), rate(&three["best"]));
}

fn what_if(bench: &Bench, words: &[&str], change: &str) -> Value {
    let plan = ["plan", "--profile", "p.json", "--json", "--what-if", change];
    let output = bench.stagger_words(&[&plan, words].concat());
    assert_eq!(output.status, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap()
}

/// Three devices, of which one takes ten times as long as the others.
fn with_a_slow_device(slow: usize) -> Bench {
    with_profile(|profile| {
        let mut devices = vec![profile["devices"][0].clone(); 3];
        for pass in ["forward", "recompute", "backward", "update"] {
            for time in devices[slow][pass].as_array_mut().unwrap() {
                *time = json!(10.0 * time.as_f64().unwrap());
            }
        }
        profile["devices"] = devices.into();
    })
}

/// An added device is like another one in its times, and not like the profile's next one.
#[test]
fn an_added_device_is_like_the_one_that_is_named() {
    let bench = with_a_slow_device(2);
    let even = with_profile(|_| ());
    let expected = planned(&even, "--speeds 1,1,1");
    let found = what_if(&bench, &["--speeds", "1,1"], "+1 device like 0");
    assert_eq!(rate(&found["what_if"]["best"]), rate(&expected["best"]));
    // Of all three, and one more.
    let expected = planned(&even, "--speeds 1,1,1,0.1");
    let found = what_if(&bench, &[], "+1 device like 1");
    assert_eq!(rate(&found["what_if"]["best"]), rate(&expected["best"]));
    for (change, expected) in [
        (
            "+1 device like 2",
            "--what-if: there is no device 2; devices count from 0 to 1",
        ),
        (
            "+64 devices like 0",
            "--what-if with 66 devices in all is not a number of devices that can be planned for; give at most 64",
        ),
    ] {
        let plan = ["plan", "--profile", "p.json", "--speeds", "1,1"];
        let refused = bench.stagger_words(&[&plan[..], &["--what-if", change]].concat());
        assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
}

/// The devices to use are those that are fast by the profile and by what slows them down, too.
#[test]
fn slow_devices_are_left_out() {
    let best_of_two = rate(&planned(&with_profile(|_| ()), "--speeds 1,1")["best"]);
    let slow_first = planned(&with_a_slow_device(0), "");
    assert!(rate(&slow_first["best"]) >= best_of_two, "{slow_first}");
    assert_eq!(plan_of(&slow_first, "bp")["devices"], json!([1]));
    let straggler = "--straggler stage=0,slowdown=900% --speeds 1,1,1";
    let straggler = planned(&with_profile(|_| ()), straggler);
    assert!(rate(&straggler["best"]) >= best_of_two, "{straggler}");
    assert_eq!(plan_of(&straggler, "bp")["devices"], json!([1]));
}

#[test]
fn more_devices_may_make_room() {
    let bench = with_profile(|_| ());
    let one = planned(&bench, "--speeds 1");
    let two = planned(&bench, "--speeds 1,1");
    let needs = |plans: &Value| {
        let plans = plans["plans"].as_array().unwrap().iter();
        let memory = plans.map(|plan| plan["memory_bytes"].as_u64().unwrap());
        memory.min().unwrap()
    };
    assert!(needs(&two) < needs(&one));
    let room = needs(&two).to_string();
    let found = what_if(
        &bench,
        &["--speeds", "1", "--memory", &room],
        "+1 device like 0",
    );
    assert_eq!(found["best"], Value::Null);
    assert!(rate(&found["what_if"]["best"]) > 0.0, "{found}");
}

#[test]
fn times_that_no_clock_counts_are_refused() {
    let bench = with_profile(|profile| {
        profile["links"] = json!([{"latency": 0.001, "per_megabyte": 0.001}]);
    });
    for wrong in [
        "--speeds 1,1 --bandwidth 1e-12",
        "--speeds 1e-12,1e-12",
        "--speeds 1e-320,1",
        "--batch-size 18446744073709551615",
    ] {
        let output = bench.stagger(&format!("plan --profile p.json {wrong}"));
        assert_eq!((output.status, output.stdout.as_str()), (2, ""), "{wrong}");
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{wrong}: {}",
            output.stderr
        );
    }
    for field in ["output_bytes", "parameter_bytes"] {
        let bench = with_profile(|profile| {
            profile["links"] = json!([{"latency": 0.001, "per_megabyte": 0.001}]);
            for block in profile["blocks"].as_array_mut().unwrap() {
                block[field] = json!(u64::MAX);
            }
        });
        let simulated = bench.stagger(
            "simulate dsp --stages 2 --replicas 2 --profile p.json --batches 10 --warmup 2",
        );
        assert_eq!(
            (simulated.status, simulated.stdout.as_str()),
            (2, ""),
            "{field}"
        );
        let expected = "and at most a year is planned with";
        assert!(simulated.stderr.contains(expected), "{}", simulated.stderr);
    }
    let none = with_profile(|profile| profile["devices"] = json!([]));
    let output = none.stagger("plan --profile p.json");
    assert_eq!(output.status, 2);
    assert!(
        output.stderr.contains("it has no devices"),
        "{}",
        output.stderr
    );
}

#[test]
fn wrong_requests_are_one_sentence() {
    let bench = with_profile(|_| ());
    let mut nothing = profile();
    for pass in ["forward", "recompute", "backward", "update"] {
        nothing["devices"][0][pass] = json!([0, 0, 0, 0, 0]);
    }
    fs::write(bench.path("nothing.json"), nothing.to_string()).unwrap();
    let cases = [
        "--profile nowhere.json",
        "--profile nothing.json",
        "--profile p.json --speeds 1,1e300",
        "--profile p.json --batch-size 18446744073709551615",
        "--profile p.json --speeds 1,0",
        "--profile p.json --speeds 1,fast",
        "--profile p.json --speeds 1,NaN",
        "--profile p.json --speeds 1,1 --memory 1GiB,1GiB,1GiB",
        "--profile p.json --memory much",
        "--profile p.json --batch-size 0",
        "--profile p.json --bandwidth 0",
        "--profile p.json --latency soon",
        "--profile p.json --straggler stage=1,slowdown=1",
        "--profile p.json --top 0",
        "--profile p.json --what-if more",
        "",
    ];
    let said: Vec<String> = (cases.iter())
        .map(|case| {
            let output = bench.stagger(&format!("plan {case}"));
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
    insta::assert_snapshot!("plan_refusals", said.join("\n"));
}

/// A figure of one device is that of the device as it is, slowed down or not.
#[test]
fn one_device_is_once_as_fast_as_itself() {
    let bench = with_profile(|_| ());
    for flags in ["", "--straggler slowdown=50%"] {
        let found = planned(&bench, flags);
        let alone = found["one_device_images_per_second"].as_f64().unwrap();
        let of_one = rate(plan_of(&found, "bp"));
        assert!(
            (of_one / alone - 1.0).abs() < 0.01,
            "{flags}: {of_one} and {alone}"
        );
    }
}

#[test]
fn links_that_lead_nowhere_are_refused() {
    let links = |count: usize| {
        with_profile(|profile| {
            let link = json!({"latency": 0.001, "per_megabyte": 0.0});
            profile["links"] = json!(vec![link; count]);
        })
    };
    let refused = links(3).stagger("plan --profile p.json");
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    let expected = "p.json has 3 links, and there is 1 device; give one link for all\n";
    assert!(refused.stderr.ends_with(expected), "{}", refused.stderr);
    let as_many = links(2).stagger("plan --profile p.json --speeds 1,1,0.5");
    assert_eq!(as_many.status, 0, "{}", as_many.stderr);
}
