//! A small vocabulary for running the binary.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use stagger::report::{Record, read_metrics, read_weights};
use tempfile::TempDir;

/// The binary, in a folder of its own.
pub struct Bench {
    pub folder: TempDir,
}

/// What a command gave.
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `stagger` with arguments separated by spaces.
    pub fn stagger(&self, arguments: &str) -> Output {
        self.stagger_words(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// The same with arguments that may have spaces in them.
    pub fn stagger_words(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("stagger").expect("the binary is built");
        command.current_dir(&self.folder).args(arguments);
        // No terminal on any stream: help is as wide as its limit.
        let output = command.write_stdin("").output().expect("the binary starts");
        Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Trains a few small batches of the built-in data into the folder `name`; more arguments may
    /// override those given here.
    pub fn train(&self, name: &str, arguments: &str) -> Output {
        let output = self.stagger(&format!(
            "train --batch-size 8 --max-batches 4 --eval-batch-size 250 --calibration-batches 0 \
             --lr 0.01 --output {name} {arguments}"
        ));
        assert_eq!(output.status, 0, "{}", output.stderr);
        output
    }

    /// Writes 20 training and 10 test images in the layout of CIFAR-10; gives the flags to use them.
    pub fn tiny_data(&self) -> String {
        let record = |index: usize| {
            let pixel = move |at: usize| (index * 31 + at * 7) as u8;
            std::iter::once(index as u8 % 10).chain((0..3072).map(pixel))
        };
        let records = |count: usize| (0..count).flat_map(record).collect::<Vec<u8>>();
        fs::write(self.path("data_batch_1.bin"), records(20)).expect("a writable folder");
        fs::write(self.path("test_batch.bin"), records(10)).expect("a writable folder");
        "--dataset cifar10 --data-dir .".to_owned()
    }

    /// Content of the weights file of a run, without metadata.
    pub fn weights(&self, run: &str) -> stagger::engine::StageState {
        read_weights(&self.path(run).join("last.safetensors"))
            .expect("weights")
            .state
    }

    pub fn metrics(&self, run: &str) -> Vec<Record> {
        read_metrics(&self.path(run).join("metrics.jsonl")).expect("metrics")
    }

    /// Losses of the batches of a run.
    pub fn losses(&self, run: &str) -> Vec<f32> {
        let loss = |record: &Record| match record {
            Record::Batch(batch) => Some(batch.loss),
            _ => None,
        };
        self.metrics(run).iter().filter_map(loss).collect()
    }
}

/// The environment of a process whose calls to the disk fail or hang as these faults say, by a library in the folder:
/// benchmarks/reliability/shim.c.
#[cfg(target_os = "linux")]
pub fn disk_faults(bench: &Bench, faults: &str) -> [(&'static str, std::ffi::OsString); 2] {
    const SHIM: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../benchmarks/reliability/shim.c"
    );
    let library = bench.path("shim.so");
    if !library.exists() {
        let made = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([SHIM, "-ldl"])
            .status()
            .expect("a C compiler");
        assert!(made.success());
    }
    [
        ("LD_PRELOAD", library.into()),
        ("STAGGER_SHIM", faults.into()),
    ]
}

/// Whether a folder holds anything.
pub fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}
