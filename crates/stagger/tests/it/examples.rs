//! Every example runs, and prints what its first comment shows.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the examples are, as cargo builds them along with the tests: TARGET/PROFILE/examples beside TARGET/PROFILE/deps.
fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("this program");
    let profile = this.ancestors().nth(2).expect("a folder of a profile");
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: `cargo test -p stagger` builds the examples, but not with a filter such as --test",
        program.display()
    );
    program
}

fn run(name: &str) -> String {
    let output = Command::new(program(name)).output().expect("an example");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout
}

fn source(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    fs::read_to_string(folder.join(format!("{name}.rs"))).expect("an example")
}

/// A test of each example.
macro_rules! examples {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[&str] = &["timeline", $(stringify!($name)),*];

        $(#[test]
        fn $name() {
            prints_what_it_shows(stringify!($name));
        })*
    };
}

examples!(
    compare_two_methods,
    custom_dataset,
    custom_model,
    custom_schedule,
    custom_sink,
    resume,
    train,
    unwatched,
);

fn prints_what_it_shows(name: &str) {
    let (found, source) = (run(name), source(name));
    let expected: Vec<_> = shown(&source).into_iter().map(pattern).collect();
    assert_eq!(
        found.lines().map(pattern).collect::<Vec<_>>(),
        expected,
        "{found}"
    );
}

/// Its output is docs/timeline.svg.
#[test]
fn timeline() {
    let picture = run("timeline");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for title in ["bp: ", "dsp(1,0;2,0): "] {
        assert!(picture.contains(title), "{title}");
    }
}

/// The lines of the first comment's block of text.
fn shown(source: &str) -> Vec<&str> {
    let comment = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = comment.skip_while(|line| *line != " ```text").skip(1);
    lines
        .take_while(|line| *line != " ```")
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect()
}

/// What stays of a line when times, speeds and losses change: its words, as far as the lines of a console always have them.
fn pattern(line: &str) -> String {
    let line = match line.split_once(['·', ':']) {
        Some((start, _)) if line.contains(" %") || line.contains("MiB") => start,
        _ => line,
    };
    let mut pattern = String::new();
    for word in line.split_whitespace() {
        let number = word.starts_with(|c: char| c.is_ascii_digit());
        pattern.push_str(if number { "0" } else { word });
        pattern.push(' ');
    }
    pattern
}

#[test]
fn every_example_is_tested_and_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an example").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let source = source(&name);
        let lines = source.lines().count();
        assert!(
            name == "timeline" || lines <= 60,
            "{name} has {lines} lines"
        );
        assert!(!shown(&source).is_empty(), "{name} shows no output");
        found.push(name.into_owned());
    }
    let mut expected = NAMES.to_vec();
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
