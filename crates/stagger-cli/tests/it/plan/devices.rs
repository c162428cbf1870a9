//! Devices of a plan: the links between them, what they take, and what is said of them.

use std::fs;

use serde_json::{Value, json};

use super::{planned, rate, with_profile};
use crate::support::Bench;

/// Three equal devices, of which the last is behind a slow link.
fn behind_links() -> Bench {
    with_profile(|profile| {
        let device = profile["devices"][0].clone();
        profile["devices"] = json!([device, device, device]);
        profile["links"] = json!([
            {"latency": 0.0, "per_megabyte": 0.0},
            {"latency": "20ms", "per_megabyte": "80ms"},
        ]);
    })
}

/// What a plan promises, the simulator finds with the same links: those between its devices, with one figure replaced or none.
#[test]
fn a_plan_has_the_links_between_its_devices() {
    let bench = behind_links();
    let simulated = |profile: &str, plan: &Value, flags: &str| {
        let cut = plan["cut"].as_array().unwrap().iter().map(Value::to_string);
        let (stages, cut) = (cut.len().to_string(), cut.collect::<Vec<_>>().join(","));
        let schedule = plan["schedule"].as_str().unwrap();
        let words = [
            "simulate",
            schedule,
            "--profile",
            profile,
            "--json",
            "--stages",
            &stages,
            "--balance",
            &cut,
        ];
        let words: Vec<&str> = words.into_iter().chain(flags.split_whitespace()).collect();
        let output = bench.stagger_words(&words);
        assert_eq!(output.status, 0, "{}", output.stderr);
        rate(&serde_json::from_str(&output.stdout).unwrap())
    };
    for flags in ["", "--latency 1us"] {
        let found = planned(&bench, flags);
        let plans = found["plans"].as_array().unwrap().iter();
        let of_three = plans.filter(|plan| plan["cut"].as_array().unwrap().len() == 3);
        let mut count = 0;
        for plan in of_three {
            let (promised, found) = (rate(plan), simulated("p.json", plan, flags));
            assert!(
                (promised / found - 1.0).abs() < 0.05,
                "{flags}: {found} and {plan}"
            );
            count += 1;
        }
        assert!(count > 0, "{flags}: {found}");
    }
    // The first device is slow, so that two of the three are the last two.
    let text = fs::read_to_string(bench.path("p.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    for pass in ["forward", "recompute", "backward"] {
        for time in profile["devices"][0][pass].as_array_mut().unwrap() {
            *time = json!(time.as_f64().unwrap() * 50.0);
        }
    }
    fs::write(bench.path("p.json"), profile.to_string()).unwrap();
    let found = planned(&bench, "");
    let plans = found["plans"].as_array().unwrap().iter();
    let mut on_last = plans.filter(|plan| plan["devices"] == json!([1, 2]));
    let one = on_last
        .find(|plan| plan["schedule"] == "pipedream")
        .unwrap();
    let devices = profile["devices"].as_array().unwrap()[1..].to_vec();
    profile["devices"] = json!(devices);
    profile["links"] = json!([profile["links"][1]]);
    fs::write(bench.path("last.json"), profile.to_string()).unwrap();
    let alone = simulated("last.json", one, "");
    assert!((rate(one) / alone - 1.0).abs() < 0.02, "{one} and {alone}");
}

/// The profile of the marked plan has its devices and links alone: simulated with it, the plan takes what was promised.
#[test]
fn a_plan_is_simulated_by_its_own_profile() {
    let slow_first = || {
        with_profile(|profile| {
            let mut devices = vec![profile["devices"][0].clone(); 3];
            for pass in ["forward", "recompute", "backward"] {
                for time in devices[0][pass].as_array_mut().unwrap() {
                    *time = json!(time.as_f64().unwrap() * 50.0);
                }
            }
            profile["devices"] = devices.into();
            profile["links"] = json!([
                {"latency": "1ms", "per_megabyte": 0.0},
                {"latency": "3ms", "per_megabyte": "2ms"},
            ]);
        })
    };
    let of_whole_stages = || {
        with_profile(|profile| {
            let stage = |seconds: f64| json!({"forward": seconds, "recompute": seconds, "backward": 2.0 * seconds, "update": 0.0});
            profile["stages"] = json!({"cut": [3, 2], "times": [stage(0.009), stage(0.0135)]});
        })
    };
    let like_0 = "+1 device like 0";
    let of_changed = ["--what-if", like_0];
    let cases: [(Bench, &[&str]); 7] = [
        (behind_links(), &[]),
        (slow_first(), &[]),
        (slow_first(), &["--bandwidth", "12.5"]),
        (of_whole_stages(), &[]),
        (
            of_whole_stages(),
            &["--speeds", "1,0.5,1,1", "--batch-size", "32"],
        ),
        (with_profile(|_| ()), &["--speeds", "1,1,1,1"]),
        (with_profile(|_| ()), &of_changed),
    ];
    for (number, (bench, flags)) in cases.iter().enumerate() {
        let plan = [
            "plan",
            "--profile",
            "p.json",
            "--write-profile",
            "its own.json",
            "--json",
        ];
        let output = bench.stagger_words(&[&plan[..], *flags].concat());
        assert_eq!(output.status, 0, "{number}: {}", output.stderr);
        let found: Value = serde_json::from_str(&output.stdout).unwrap();
        let best = &found.get("what_if").unwrap_or(&found)["best"];
        let command = found["simulate_command"].as_str().unwrap();
        let words = command.strip_prefix("stagger ").unwrap();
        let words = words.strip_suffix(" --profile 'its own.json'").unwrap();
        let words = words.split(' ').map(|word| word.trim_matches('\''));
        let words: Vec<&str> = (words.chain(["--profile", "its own.json", "--json"])).collect();
        let simulated = bench.stagger_words(&words);
        assert_eq!(simulated.status, 0, "{number}: {}", simulated.stderr);
        let simulated = rate(&serde_json::from_str(&simulated.stdout).unwrap());
        assert!(
            (rate(best) / simulated - 1.0).abs() < 0.01,
            "{number}: {simulated} and {best}"
        );
    }
    let again =
        cases[0]
            .0
            .stagger_words(&["plan", "--profile", "p.json", "--write-profile", "p.json"]);
    assert_eq!((again.status, again.stdout.as_str()), (2, ""));
    assert!(again.stderr.contains("p.json"), "{}", again.stderr);
}

#[test]
fn an_added_device_has_a_link_like_the_slowest() {
    let bench = behind_links();
    let fewer = bench.stagger("plan --profile p.json --speeds 1,1");
    assert_eq!(fewer.status, 0, "{}", fewer.stderr);
    let found = bench.stagger_words(&[
        "plan",
        "--profile",
        "p.json",
        "--what-if",
        "+1 device like 0",
    ]);
    assert_eq!(found.status, 0, "{}", found.stderr);
}

/// Whole stages were measured of one cut. A plan does not depend on whether it tries that one, or on the form of the profile.
#[test]
fn whole_stages_and_blocks_are_compared_alike() {
    let took = |factor: f64, blocks: &[usize]| {
        let sum: usize = blocks.iter().sum();
        let seconds = factor * sum as f64 * 1e-3;
        json!({"forward": seconds, "recompute": seconds, "backward": 2.0 * seconds, "update": 0.0})
    };
    // Stages take one and a half times the sum of their blocks.
    let stages = json!({"cut": [3, 2], "times": [took(1.5, &[1, 2, 3]), took(1.5, &[4, 5])]});
    let one = with_profile(|profile| profile["stages"] = stages.clone());
    let two = with_profile(|profile| {
        let device = profile["devices"][0].clone();
        profile["devices"] = json!([device, device]);
        profile["stages"] = stages.clone();
    });
    let best = |bench: &Bench, flags: &str| rate(&planned(bench, flags)["best"]);
    let expected = best(&one, "");
    for (bench, flags) in [
        (&one, "--speeds 1,1"),
        (&one, "--speeds 1,1.0000001"),
        (&two, ""),
    ] {
        let found = best(bench, flags);
        assert!(
            (found / expected - 1.0).abs() < 1e-3,
            "{flags}: {found} and {expected}"
        );
    }
    let blocks = with_profile(|_| ());
    let found = best(&blocks, "--speeds 1,1");
    assert!(
        (found / expected / 1.5 - 1.0).abs() < 1e-3,
        "{found} and {expected}"
    );
    let more = |bench: &Bench| {
        let words = [
            "plan",
            "--profile",
            "p.json",
            "--json",
            "--what-if",
            "+1 device like 0",
        ];
        let found: Value = serde_json::from_str(&bench.stagger_words(&words).stdout).unwrap();
        rate(&found["what_if"]["best"])
    };
    assert!((more(&one) / more(&two) - 1.0).abs() < 1e-3);
    assert!(more(&one) > expected);
}

#[test]
fn sentences_of_a_plan_speak_of_its_devices() {
    let bench = with_profile(|_| ());
    for (flags, expected) in [
        (
            "--straggler stage=2,probability=0.5,slowdown=100%",
            "there is no device 2; devices count from 0 to 1",
        ),
        (
            "--memory 1KiB",
            "within the memory of the devices, of which the largest has 1.0 KiB; use a smaller --batch-size",
        ),
    ] {
        let output = bench.stagger(&format!("plan --profile p.json --speeds 1,1 {flags}"));
        assert_eq!(output.status, 2, "{}", output.stdout);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    let spaced = bench.stagger_words(&["plan", "--profile", "p.json", "--speeds", "1, 1"]);
    assert_eq!(spaced.status, 0, "{}", spaced.stderr);
    let joined = bench.stagger_words(&["plan", "--profile", "p.json", "--speeds", "1 1"]);
    assert_eq!(joined.status, 2);
    assert!(
        joined.stderr.contains("is no number; give a number"),
        "{}",
        joined.stderr
    );
}
