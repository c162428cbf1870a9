//! Data sets that are not named: their files say which they are, in every command.

use std::fs;

use stagger::Training;

use crate::support::Bench;

const RUN: &str = "--batch-size 8 --max-batches 2 --calibration-batches 0 --data-dir .";
const TAKEN: &str = "is taken for --dataset cifar10, by its files";

/// The lines that tell of the data, with the bench's folder as TOP.
fn told(bench: &Bench, stdout: &str) -> String {
    let top = fs::canonicalize(bench.folder.path()).unwrap();
    let data = stdout.lines().filter(|line| line.starts_with("data:"));
    let lines: Vec<String> = data
        .map(|line| line.replace(&top.display().to_string(), "TOP"))
        .collect();
    lines.join("\n")
}

#[test]
fn files_say_which_data_set_they_are() {
    let bench = Bench::new();
    bench.tiny_data();
    let train = bench.stagger(&format!("train {RUN} --output run"));
    assert_eq!(train.status, 0, "{}", train.stderr);
    insta::assert_snapshot!(told(&bench, &train.stdout), @r"
    data: TOP is taken for --dataset cifar10, by its files
    data: 1 of 5 training batches; data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, data_batch_5.bin are not there
    ");
    // The run knows what it was, and need not look again.
    let config = fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert!(config.contains("dataset = \"cifar10\""), "{config}");
    let eval = bench.stagger("eval --run run");
    assert!(
        eval.status == 0 && !eval.stdout.contains(TAKEN),
        "{}",
        eval.stdout
    );
    let more = bench.stagger("train --resume run");
    assert!(!more.stdout.contains(TAKEN), "{}", more.stdout);

    fs::write(
        bench.path("run.toml"),
        "data-dir = \".\"\nmax-batches = 2\nbatch-size = 8\n",
    )
    .unwrap();
    let by_file = bench.stagger("train --config run.toml --calibration-batches 0");
    assert!(
        by_file.stdout.contains(TAKEN),
        "{}{}",
        by_file.stdout,
        by_file.stderr
    );
    // The same run as if it had been named.
    let named = bench.stagger(&format!("train --dataset cifar10 {RUN} --output named"));
    assert_eq!(named.status, 0, "{}", named.stderr);
    assert_eq!(bench.weights("named"), bench.weights("run"));

    let compare = bench.stagger(&format!("compare bp dsp {RUN} --output compared"));
    assert_eq!(compare.status, 0, "{}", compare.stderr);
    assert!(compare.stdout.contains(TAKEN), "{}", compare.stdout);

    let job = Training::new()
        .data_dir(bench.folder.path())
        .check()
        .unwrap();
    assert_eq!(job.options.dataset.as_deref(), Some("cifar10"));
    assert_eq!(
        Training::new().check().unwrap().options.dataset.as_deref(),
        Some("shapes")
    );
}

#[test]
fn what_is_not_plain_is_refused() {
    let bench = Bench::new();
    let refused = |arguments: &str, part: &str| {
        let output = bench.stagger(&format!("train {arguments} --output run"));
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments}"
        );
        assert!(
            output.stderr.contains(part),
            "{arguments}: {}",
            output.stderr
        );
        assert!(!bench.path("run").exists());
    };
    refused("--data-dir .", "holds none that is known by its files");
    refused("--data-dir nowhere", "there is no such folder");
    refused(
        "--dataset shapes --data-dir .",
        "--data-dir does nothing with --dataset shapes",
    );
    fs::write(bench.path("pictures.tar.gz"), "").unwrap();
    refused(
        "--data-dir .",
        "pictures.tar.gz is an archive, which is not read as it is; unpack it with `mkdir -p ",
    );
    bench.tiny_data();
    refused(
        "--data-dir . --val-split 0.1",
        "--val-split does nothing with --dataset cifar10",
    );
    for split in ["train", "val"] {
        fs::create_dir_all(bench.path(split).join("a")).unwrap();
    }
    refused(
        "--data-dir .",
        "holds the files of several data sets, cifar10, image-folder; choose one with --dataset",
    );
}
