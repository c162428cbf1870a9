//! The library and the command line make the same run.

use std::fs;

use stagger::{Training, TrainingOptions};

use crate::support::Bench;

/// Every mitigation of staleness, alone and where it can be with another one.
#[test]
fn every_mitigation_gives_the_same_bits() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let mut weights = Vec::new();
    for (at, schedule) in [
        "dsp",
        "dsp + look-ahead(0.95)",
        "dsp + predict",
        "dsp + predict(geometric)",
        "dsp + shrink(0.8)",
        "dsp + reschedule(20)",
        "dsp + gap-aware",
        "dsp + accumulate(2)",
        "dsp + accumulate(2) + shrink(0.8) + look-ahead",
    ]
    .into_iter()
    .enumerate()
    {
        let flag = format!("flag-{at}");
        bench.train(
            &flag,
            &format!(
                "{data} --stages 3 --epochs 4 --max-batches 9 --schedule {}",
                schedule.replace(' ', "")
            ),
        );
        let options = TrainingOptions {
            data_dir: Some(bench.folder.path().to_owned()),
            eval_batch_size: Some(250),
            ..TrainingOptions::default()
        };
        let run = Training::new()
            .options(options)
            .dataset("cifar10")
            .schedule(schedule)
            .stages(3)
            .batch_size(8)
            .learning_rate(0.01)
            .epochs(4)
            .max_batches(9)
            .output(bench.path(&format!("library-{at}")))
            .run()
            .expect("a run");
        let read = |run: &str| fs::read(bench.path(run).join("last.safetensors")).unwrap();
        let found = read(&format!("library-{at}"));
        assert!(found == read(&flag), "{schedule}");
        weights.push(run.weights().expect("weights"));
    }
    // None of them does nothing.
    for (at, one) in weights.iter().enumerate() {
        assert!(weights[..at].iter().all(|other| other != one), "{at}");
    }
}
