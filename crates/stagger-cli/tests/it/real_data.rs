//! Real images, where there are some: `STAGGER_DATA` names the folder.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::support::Bench;

/// The folder of the real data; says so when there is none.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("STAGGER_DATA").map(PathBuf::from);
    if folder.is_none() {
        // Straight to the stream: the test harness swallows what is printed.
        let _ = writeln!(io::stderr(), "skipped: STAGGER_DATA not set");
    }
    folder
}

/// The mean loss of the first and the last few batches.
fn fall(losses: &[f32]) -> (f32, f32) {
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    (mean(&losses[..8]), mean(&losses[losses.len() - 8..]))
}

#[test]
fn dsp_learns_from_real_images() {
    let Some(data) = data() else { return };
    for (dataset, folder, least) in [
        ("cifar10", "cifar-10-small", 0.1),
        ("fashion-mnist", "fashion-mnist", 0.8),
    ] {
        let bench = Bench::new();
        let folder = data.join(folder);
        bench.train(
            "run",
            &format!(
                "--dataset {dataset} --data-dir {} --batch-size 64 --epochs 99 --max-batches 60 \
                 --lr 0.05",
                folder.display()
            ),
        );
        let (first, last) = fall(&bench.losses("run"));
        assert!(
            last < first - least,
            "{dataset}: the loss goes from {first} to {last}"
        );
    }
}

/// Photographs of another size than the network's: 224 pixels brought to 32.
#[test]
fn photographs_are_brought_to_size() {
    let Some(data) = data() else { return };
    let bench = Bench::new();
    let folder = data.join("imagenet-sample");
    let flags = format!(
        "--dataset image-folder --data-dir {} --image-size 32 --stages 3 --max-batches 3",
        folder.display()
    );
    bench.train("run", &flags);
    assert_eq!(bench.losses("run").len(), 3);
    let eval = bench.stagger("eval --run run --weights last");
    assert!(
        eval.stdout.contains("400 samples"),
        "{}{}",
        eval.stdout,
        eval.stderr
    );
}
