//! Cutting a model by what its blocks take.

use stagger::transport::World;
use stagger::{Training, TrainingOptions};

use crate::ranks::over;
use crate::support::noise;

fn training<'a>(balance: &str) -> Training<'a> {
    let options = TrainingOptions {
        balance: Some(balance.to_owned()),
        ..TrainingOptions::default()
    };
    Training::new()
        .dataset(noise(0))
        .options(options)
        .stages(2)
        .batch_size(8)
        .epochs(1)
        .learning_rate(0.01)
}

/// The balance that a run folder keeps.
fn balance_in(folder: &std::path::Path) -> String {
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let line = config.lines().find(|line| line.starts_with("balance"));
    let value = line.and_then(|line| line.split('"').nth(1));
    value.expect("a balance").to_owned()
}

/// What is measured differs from time to time; the run folder says what came of it, and repeats the run to the bit.
#[test]
fn a_measured_cut_is_kept_as_numbers_of_blocks() {
    let bench = tempfile::tempdir().unwrap();
    let path = bench.path().join("run");
    let measured = training("profile").output(&path).run().unwrap();
    let found = balance_in(&path);
    let sizes: Vec<usize> = found.split(',').map(|size| size.parse().unwrap()).collect();
    assert_eq!(
        (sizes.len(), sizes.iter().sum()),
        (2, 5),
        "resnet8 has 5 blocks"
    );
    let again = training(&found).run().unwrap();
    assert!(measured.weights().unwrap() == again.weights().unwrap());
    let log = std::fs::read_to_string(path.join("run.log")).unwrap();
    let line = format!("balance profile: blocks {found}, measured to take ");
    assert!(log.contains(&line), "{log}");
}

/// The line of a restart script stays as it is; what was measured once is kept.
#[test]
fn a_resumed_run_keeps_the_cut_that_was_measured() {
    let bench = tempfile::tempdir().unwrap();
    let path = bench.path().join("run");
    training("profile")
        .output(&path)
        .max_batches(2)
        .run()
        .unwrap();
    let options = TrainingOptions {
        balance: Some("profile".to_owned()),
        ..TrainingOptions::default()
    };
    let before = balance_in(&path);
    let again = Training::new()
        .dataset(noise(0))
        .options(options)
        .resume(&path);
    again.run().unwrap();
    assert_eq!(balance_in(&path), before);
}

/// Weights are dealt out by the cut that was measured.
#[test]
fn a_measured_cut_starts_from_given_weights() {
    let bench = tempfile::tempdir().unwrap();
    let first = bench.path().join("first");
    training("1,4").output(&first).run().unwrap();
    for _ in 0..3 {
        let options = TrainingOptions {
            resume_weights: Some(first.clone()),
            ..TrainingOptions::default()
        };
        training("profile")
            .options(TrainingOptions {
                balance: Some("profile".to_owned()),
                ..options
            })
            .run()
            .unwrap();
    }
}

#[test]
fn every_rank_measures() {
    let bench = tempfile::tempdir().unwrap();
    let path = bench.path().join("run");
    let lead = |world| training("profile").output(&path).world(world).run();
    let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
    let shared = over(2, lead, follow).unwrap();
    let alone = training(&balance_in(&path)).run().unwrap();
    assert!(shared.weights().unwrap() == alone.weights().unwrap());
}
