//! Plans beside everything that there is to try.

use serde_json::json;

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
