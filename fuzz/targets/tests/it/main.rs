//! Every file of the corpora, replayed without the fuzzer.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use stagger_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names in a folder under `fuzz/`, without extensions.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).expect("a folder");
    let stem = |path: PathBuf| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    entries
        .map(|entry| stem(entry.expect("an entry").path()))
        .collect()
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fuzz().join("corpus").join(target)).expect("a corpus");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_target_has_a_replay_a_corpus_and_a_fuzzer() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets, "fuzz/fuzz_targets");
    assert_eq!(names("corpus"), targets, "fuzz/corpus");
    let read = |file: &str| fs::read_to_string(fuzz().join(file)).expect("a file");
    let (manifest, run) = (read("Cargo.toml"), read("run"));
    let all = run
        .lines()
        .find_map(|line| line.strip_prefix("all=("))
        .expect("a list");
    let all: BTreeSet<String> = all
        .trim_end_matches(')')
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(all, targets, "the list in fuzz/run");
    for target in targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"\n")),
            "{target} in fuzz/Cargo.toml"
        );
        assert!(!corpus(&target).is_empty(), "fuzz/corpus/{target} is empty");
    }
}

/// One test, as the bound on allocations holds for the whole process.
#[test]
fn every_file_of_the_corpora_passes() {
    // A parser may catch the panic of a decoder; with the fuzzer it ends the process.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        print(info);
    }));
    for (target, check) in TARGETS {
        for file in corpus(target) {
            let bytes = fs::read(&file).expect("a readable file");
            // Not captured: a failed allocation ends the process.
            let _ = writeln!(io::stderr(), "{target} {}", file.display());
            check(&bytes);
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{}", file.display());
        }
    }
}
