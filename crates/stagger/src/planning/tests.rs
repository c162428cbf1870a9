//! Plans beside everything that there is to try.

use serde_json::{Value, json};

use super::*;
use crate::durations::DurationsChoice;
use crate::simulation::Simulation;

/// A profile of resnet8 whose blocks take these times forward, in milliseconds, and twice that backward, and have so many megabytes of
/// parameters.
fn profile(times: [f64; 5], megabytes: [u64; 5], link: (f64, f64)) -> String {
    let passes = |factor: f64| times.map(|time| time * factor * 1e-3);
    let names = ["stem", "layer1.0", "layer2.0", "layer3.0", "head"];
    let blocks = names.iter().zip(megabytes).map(|(name, megabytes)| {
        json!({
            "name": name,
            "parameter_bytes": 1_000_000 * megabytes,
            "output_bytes": 1_000_000,
            "graph_bytes": 1_000_000,
        })
    });
    json!({
        "format": 1,
        "model": "resnet8",
        "input": [3, 32, 32],
        "classes": 10,
        "samples": 64,
        "dtype": "f32",
        "blocks": blocks.collect::<Vec<_>>(),
        "devices": [{
            "name": "cpu",
            "forward": passes(1.0),
            "recompute": passes(1.0),
            "backward": passes(2.0),
            "update": passes(0.0),
        }],
        "links": [{"latency": link.0, "per_megabyte": link.1}],
    })
    .to_string()
}

/// Every list of replicas on so many devices at most, in stages of at least one block each.
fn all_replicas(devices: usize) -> Vec<Replicas> {
    let mut found = Vec::new();
    for stages in 1..=devices.min(5) {
        for number in 0..devices.pow(stages as u32) {
            let digit = |at: usize| number / devices.pow(at as u32) % devices + 1;
            let counts: Vec<usize> = (0..stages).map(digit).collect();
            if counts.iter().sum::<usize>() <= devices {
                found.extend(Replicas::new(&counts, stages));
            }
        }
    }
    found
}

/// The most images per second that any method reaches with any numbers of replicas, each cut by the profile.
fn by_trying_everything(path: &std::path::Path, devices: usize) -> (f64, String) {
    let mut best = (0.0, String::new());
    for replicas in all_replicas(devices) {
        let stages = replicas.stages();
        let mut methods = vec!["bp".to_owned()];
        if stages > 1 {
            methods.push("pipedream".to_owned());
            for micro_batches in [2, 4, 8, 16] {
                methods.push(format!("gpipe({micro_batches})"));
                methods.push(format!("1f1b({micro_batches})"));
                methods.push(format!("zb({micro_batches})"));
                if micro_batches >= stages {
                    methods.push(format!("2bw({micro_batches})"));
                }
            }
            for gap in 1..=6 {
                let staleness = (0..stages).rev().map(|k| (k * gap).to_string());
                let staleness: Vec<String> = staleness.collect();
                methods.push(format!("dsp(m={})", staleness.join(",")));
            }
        }
        for method in methods {
            let simulation = Simulation {
                schedule: method.clone(),
                stages: Some(stages),
                replicas: Some(replicas.counts()),
                durations: DurationsChoice::File(path.to_owned()),
                batches: 200,
                warmup: 50,
                ..Simulation::default()
            };
            // More micro-batches than samples for all shares are refused.
            let Ok(prepared) = simulation.prepare() else {
                continue;
            };
            let rate = prepared.run(|_| {}).unwrap().lasting_batches_per_second() * 64.0;
            if rate > best.0 {
                best = (rate, format!("{method} with {replicas}"));
            }
        }
    }
    best
}

#[test]
fn the_best_of_everything_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let mut with_uneven_replicas = 0;
    // As of convolutional networks: the first blocks take the time, and the last ones have the parameters; and otherwise.
    let last = [0, 0, 1, 4, 40];
    for (devices, times, megabytes, link) in [
        (2, [1.0, 2.0, 3.0, 4.0, 5.0], [0; 5], (0.0, 0.0)),
        (3, [8.0, 1.0, 1.0, 1.0, 2.0], last, (0.001, 0.001)),
        (3, [1.0, 1.0, 1.0, 1.0, 8.0], [40; 5], (0.002, 0.001)),
        (4, [9.0, 1.0, 1.0, 1.0, 1.0], last, (0.0, 0.001)),
        (4, [3.0, 1.0, 6.0, 2.0, 1.0], [0; 5], (0.005, 0.004)),
    ] {
        std::fs::write(&path, profile(times, megabytes, link)).unwrap();
        let planning = Planning {
            profile: path.clone(),
            speeds: vec![1.0; devices],
            added: Vec::new(),
            memory: Vec::new(),
            latency: None,
            per_megabyte: None,
            stragglers: Vec::new(),
            batch_size: None,
            seed: 1,
        };
        let planned = planning.run().unwrap();
        let fastest = &planned.candidates[0];
        let (expected, how) = by_trying_everything(&path, devices);
        assert!(
            fastest.images_per_second > 0.99 * expected,
            "{} with {}: {} instead of {expected} by {how}",
            fastest.schedule,
            fastest.replicas,
            fastest.images_per_second
        );
        with_uneven_replicas += usize::from(fastest.replicas.counts().len() > 1);
        assert!(planned.simulated < 200, "{}", planned.simulated);
    }
    assert!(
        with_uneven_replicas > 0,
        "no case needs different numbers of replicas"
    );
}

/// What is said of a plan for such devices, by a profile that is changed so.
fn refused(change: impl Fn(&mut Value), of: impl Fn(&mut Planning)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let text = profile([1.0; 5], [0; 5], (0.0, 0.001));
    let mut read: Value = serde_json::from_str(&text).unwrap();
    change(&mut read);
    std::fs::write(&path, read.to_string()).unwrap();
    let mut planning = Planning {
        profile: path.clone(),
        speeds: Vec::new(),
        added: Vec::new(),
        memory: Vec::new(),
        latency: None,
        per_megabyte: None,
        stragglers: Vec::new(),
        batch_size: None,
        seed: 1,
    };
    of(&mut planning);
    let error = planning.run().unwrap_err();
    assert!(error.is_refusal());
    let sentence = error.sentence(crate::Spelling::Flags);
    sentence.replace(path.to_str().unwrap(), "p.json")
}

#[test]
fn what_no_profile_can_say_is_not_planned_with() {
    let two = |planning: &mut Planning| planning.speeds = vec![1.0; 2];
    let said = refused(
        |_| {},
        |planning| {
            two(planning);
            planning.per_megabyte = Some(1e5);
        },
    );
    assert_eq!(
        said,
        "--bandwidth 0.00001 is not a bandwidth; give one at which a megabyte takes at most a day, such as 1"
    );
    let said = refused(
        |profile| profile["devices"][0]["update"][3] = json!(1),
        |planning| planning.speeds = vec![1.0, 1e-6],
    );
    assert_eq!(
        said,
        "--speeds 0.000001 is not a speed for this profile; give one at which no block takes more than a day for anything"
    );
    // Whole stages that take no time, on devices whose blocks take some.
    let none = json!({"forward": 0, "recompute": 0, "backward": 0, "update": 0});
    let said = refused(
        |profile| {
            profile["stages"] = json!({"cut": [2, 3], "times": [none, none]});
            profile["links"] = json!([]);
        },
        two,
    );
    assert!(
        said.contains("takes no time, and so there is no rate to tell"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_with_a_profile_names_it() {
    let devices = |count: usize| {
        move |profile: &mut Value| {
            let one = profile["devices"][0].clone();
            profile["devices"] = vec![one; count].into();
        }
    };
    let said = refused(devices(70), |_| {});
    assert_eq!(
        said,
        "--profile with 70 devices in all is not a number of devices that can be planned for; give at most 64"
    );
    let links = |profile: &mut Value| {
        let one = profile["links"][0].clone();
        profile["links"] = vec![one; 2].into();
    };
    let said = refused(links, |planning| planning.speeds = vec![1.0; 4]);
    assert_eq!(
        said,
        "p.json has 2 links, and there are 4 devices; give one link for all, or 3: one from each device to the next"
    );
    for (field, value, expected) in [
        ("network", json!("what"), "p.json: in its `network`, line 1"),
        (
            "input",
            json!([3, 0, 32]),
            "p.json: model `resnet8` expects an input of at least one",
        ),
        (
            "input",
            json!([3, 1_u64 << 40, 1_u64 << 40]),
            "p.json: model `resnet8` expects an input of at most",
        ),
        (
            "classes",
            json!(0),
            "p.json: model `resnet8` expects at least 1 class but gets 0",
        ),
    ] {
        let said = refused(|profile| profile[field] = value.clone(), |_| {});
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn profiles_that_contradict_themselves_are_refused() {
    let said = refused(
        |profile| {
            profile["dtype"] = json!("bf16");
            profile["devices"][0]["engine"] = json!("cpu");
        },
        |_| {},
    );
    let expected =
        "its dtype is \"bf16\"; it has to be f32, as a device of engine cpu computes in that alone";
    assert_eq!(said, format!("p.json: {expected}"));
    let times = json!({"forward": 1, "recompute": 1, "backward": 1, "update": 1});
    let said = refused(
        |profile| profile["stages"] = json!({"cut": [0, 5], "times": [times, times]}),
        |_| {},
    );
    assert!(said.contains("stage 0 has 0 blocks"), "{said}");
}

/// A run cannot be cut by times of which there are none, whatever a simulation makes of links.
#[test]
fn blocks_without_times_cut_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let text = profile([0.0; 5], [0; 5], (0.0, 0.001));
    std::fs::write(&path, text).unwrap();
    let options = crate::TrainingOptions {
        model: Some("resnet8".to_owned()),
        balance: path.to_str().map(str::to_owned),
        ..crate::TrainingOptions::default()
    };
    let error = crate::Training::new().options(options).check().unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("the blocks take no time on device 0"),
        "{said}"
    );
    let simulation = Simulation {
        schedule: "dsp".to_owned(),
        stages: Some(2),
        durations: DurationsChoice::File(path),
        ..Simulation::default()
    };
    simulation.prepare().unwrap().run(|_| {}).unwrap();
}

#[test]
fn links_that_do_not_fit_name_their_profile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let mut read: Value = serde_json::from_str(&profile([1.0; 5], [0; 5], (0.0, 0.001))).unwrap();
    let link = read["links"][0].clone();
    read["links"] = vec![link; 3].into();
    std::fs::write(&path, read.to_string()).unwrap();
    let said = |stages: usize| {
        let simulation = Simulation {
            schedule: "dsp".to_owned(),
            stages: Some(stages),
            durations: DurationsChoice::File(path.clone()),
            ..Simulation::default()
        };
        let Err(error) = simulation.prepare() else {
            panic!("three links");
        };
        error.to_string().replace(path.to_str().unwrap(), "p.json")
    };
    assert_eq!(said(2), "p.json: the profile has 3 links; 2 stages need 1");
    assert_eq!(
        said(3),
        "p.json: the profile has 3 links; 3 stages need 2, or one that counts for all"
    );
}

#[test]
fn memory_that_is_not_looked_at_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let mut read: Value = serde_json::from_str(&profile([1.0; 5], [0; 5], (0.0, 0.001))).unwrap();
    let told = |text: &Value, balance: Option<&str>| {
        std::fs::write(&path, text.to_string()).unwrap();
        let simulation = Simulation {
            schedule: "dsp".to_owned(),
            stages: Some(2),
            durations: DurationsChoice::File(path.clone()),
            balance: balance.map(str::to_owned),
            ..Simulation::default()
        };
        let options = crate::TrainingOptions {
            model: Some("resnet8".to_owned()),
            emulate: path.to_str().map(str::to_owned),
            balance: Some(balance.unwrap_or(path.to_str().unwrap()).to_owned()),
            ..crate::TrainingOptions::default()
        };
        let job = crate::Training::new().options(options).check().unwrap();
        let simulated = simulation.prepare().unwrap().unread_memory;
        assert_eq!(simulated.is_some(), job.unread_memory.is_some());
        simulated.is_some()
    };
    assert!(!told(&read, Some("2,3")));
    read["devices"][0]["memory_bytes"] = json!(1_u64 << 40);
    assert!(told(&read, Some("2,3")));
    assert!(!told(&read, None));
}

#[test]
fn what_no_file_could_say_is_refused() {
    for more in [65, usize::MAX] {
        let sentence = refused(
            |_| {},
            |planning| *planning = crate::DeviceChange { more, like: 0 }.apply(planning),
        );
        assert!(
            sentence.starts_with("--what-if with ") && sentence.ends_with("give at most 64"),
            "{sentence}"
        );
    }
    for seconds in [-1.0, f64::NAN, 1e6] {
        let sentence = refused(
            |_| {},
            |planning| planning.latency = Some(stagger_plan::Distribution::Constant(seconds)),
        );
        assert!(
            sentence.starts_with("--latency ") && sentence.ends_with("between 0 s and a day"),
            "{sentence}"
        );
    }
}
