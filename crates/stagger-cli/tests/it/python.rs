//! The reader of snapshots in docs/snapshots.md, on a snapshot.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Output};

use crate::support::Bench;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/snapshots.md");

/// The only block of Python on the page.
fn reader() -> String {
    let page = fs::read_to_string(PAGE).expect("the page");
    let (_, after) = page.split_once("```python\n").expect("a block of Python");
    let (reader, rest) = after.split_once("```").expect("its end");
    assert!(!rest.contains("```python"), "one reader");
    reader.to_owned()
}

/// Runs Python: that of `STAGGER_PYTHON`, or the usual one.
fn python(bench: &Bench, arguments: &[&str]) -> io::Result<Output> {
    let python = env::var("STAGGER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    Command::new(python)
        .args(arguments)
        .current_dir(&bench.folder)
        .output()
}

#[test]
fn the_reader_on_the_page_reads_a_snapshot() {
    let bench = Bench::new();
    let has_safetensors = python(&bench, &["-c", "import numpy, safetensors.numpy"])
        .is_ok_and(|output| output.status.success());
    if !has_safetensors {
        let _ = writeln!(
            io::stderr(),
            "skipped: no python3 with safetensors and numpy here"
        );
        return;
    }
    bench.train("run", "--stages 2 --schedule dsp");
    fs::write(bench.path("reader.py"), reader()).unwrap();
    let folder = "run/snapshots/v00000004";
    let read = python(&bench, &["reader.py", folder]).unwrap();
    let stderr = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{stderr}");
    let stdout = String::from_utf8_lossy(&read.stdout);
    assert!(
        stdout.starts_with("resnet8 dsp(1,0;2,0) version 4\n"),
        "{stdout}"
    );
    for line in [
        "stage-0.safetensors conv1.weight (16, 3, 3, 3)",
        "stage-1.safetensors linear.weight (10, 64)",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }

    let damaged = bench.path(folder).join("stage-1.safetensors");
    let mut bytes = fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let read = python(&bench, &["reader.py", folder]).unwrap();
    assert!(!read.status.success());
    let stderr = String::from_utf8_lossy(&read.stderr);
    assert!(
        stderr.contains("stage-1.safetensors is damaged"),
        "{stderr}"
    );
}
