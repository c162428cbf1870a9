//! Runs on images that are mixed with one another.

use crate::support::Bench;

/// Three batches per epoch, the last one smaller.
const RUN: &str = "--batch-size 8 --calibration-batches 0 --lr 0.01 --epochs 3";

/// Stages, micro-batches, replicas and workers share a batch out; what is mixed, and how labels count, is that of the whole batch.
#[test]
fn a_batch_is_mixed_whole_however_it_is_shared_out() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for mixing in ["--mixup 0.4", "--cutmix 1", "--mixup 0.4 --cutmix 1"] {
        let losses = |number: usize, how: &str| {
            let name = format!("run{}{number}", mixing.replace(' ', ""));
            let run = format!("train {data} {RUN} {mixing} {how} --output {name}");
            let output = bench.stagger(&run);
            assert_eq!(output.status, 0, "{}", output.stderr);
            (bench.losses(&name), bench.weights(&name))
        };
        let whole = losses(0, "--schedule bp --stages 1");
        assert_eq!(losses(1, "--schedule bp --stages 3 --workers 2"), whole);
        assert_eq!(losses(2, "--schedule dsp --stages 1 --workers 3"), whole);
        // Micro-batches and replicas normalise apart, so their numbers are their own; both have the same shares.
        let micro = losses(3, "--schedule gpipe(2) --stages 2");
        assert_eq!(losses(4, "--schedule 1f1b(2) --stages 2"), micro);
        assert_ne!(micro.0, whole.0);
        let plain = bench.stagger(&format!(
            "train {data} {RUN} --schedule bp --stages 1 --output plain{}",
            mixing.replace(' ', "")
        ));
        assert_eq!(plain.status, 0, "{}", plain.stderr);
        let plain = bench.losses(&format!("plain{}", mixing.replace(' ', "")));
        assert_ne!(plain, whole.0);
    }
}

/// With statistics of the whole batch, two replicas are one device to rounding, also where samples are mixed over their border.
#[test]
fn replicas_share_a_mixed_batch() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let first = |name: &str, how: &str| {
        let run = format!("train {data} {RUN} --mixup 0.4 --cutmix 1 {how} --output {name}");
        let output = bench.stagger(&run);
        assert_eq!(output.status, 0, "{}", output.stderr);
        bench.losses(name)[..2].to_vec()
    };
    let alone = first("alone", "--schedule bp --stages 1");
    let shared = first(
        "shared",
        "--schedule dp(2) --stages 1 --sync-batch-norm true",
    );
    for (shared, alone) in shared.iter().zip(&alone) {
        assert!((shared - alone).abs() < 1e-4, "{shared} is not {alone}");
    }
}

#[test]
fn a_mixed_run_resumes_to_the_bit() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "train {data} {RUN} --mixup 0.4 --cutmix 1 --schedule dsp --stages 2 --snapshot-every 5"
    );
    for name in ["whole", "parts"] {
        let output = bench.stagger(&format!("{run} --output {name}"));
        assert_eq!(output.status, 0, "{}", output.stderr);
    }
    let snapshots = std::fs::read_dir(bench.path("parts/snapshots")).unwrap();
    let mut snapshots: Vec<_> = snapshots.map(|entry| entry.unwrap().file_name()).collect();
    snapshots.sort();
    let first = snapshots[0].to_str().unwrap();
    let output = bench.stagger(&format!("train --resume parts/snapshots/{first}"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(bench.weights("parts"), bench.weights("whole"));
    assert_eq!(bench.losses("parts"), bench.losses("whole"));
}

#[test]
fn shares_are_of_a_distribution() {
    let bench = Bench::new();
    for flags in ["--mixup 0", "--mixup -1", "--cutmix 11", "--cutmix NaN"] {
        let output = bench.stagger(&format!("train {flags}"));
        assert_eq!(output.status, 2, "{}", output.stdout);
        let expected = format!("{flags} is not an α of a beta distribution");
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
    let output = bench.stagger("train --mixup 1 --emulate equal:10ms");
    assert_eq!(output.status, 2, "{}", output.stdout);
    assert!(output.stderr.contains("--mixup"), "{}", output.stderr);
}
