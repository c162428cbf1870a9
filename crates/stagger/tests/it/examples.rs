//! Every example runs, and prints what its first comment shows.
//!
//! Each is compiled into this test, and runs in a process of its own: this program again, with the example's name in the
//! environment.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The example that a process runs.
const NAME: &str = "STAGGER_EXAMPLE";

/// Compiles the examples in, and gives each a test.
macro_rules! examples {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(#[path = $path]
        mod $name;)*

        const NAMES: &[&str] = &[$(stringify!($name)),*];

        fn run(name: &str) -> Result<(), Box<dyn std::error::Error>> {
            match name {
                $(stringify!($name) => Ok($name::main()?),)*
                other => Err(format!("no example {other}").into()),
            }
        }

        mod prints {
            $(#[test]
            fn $name() {
                super::prints_what_it_shows(stringify!($name), include_str!($path));
            })*
        }
    };
}

examples! {
    compare_two_methods: "../../examples/compare_two_methods.rs",
    custom_dataset: "../../examples/custom_dataset.rs",
    custom_model: "../../examples/custom_model.rs",
    custom_schedule: "../../examples/custom_schedule.rs",
    custom_sink: "../../examples/custom_sink.rs",
    resume: "../../examples/resume.rs",
    timeline: "../../examples/timeline.rs",
    train: "../../examples/train.rs",
}

/// The process that runs an example; without a name in the environment there is nothing to do.
#[test]
fn child() {
    if let Ok(name) = env::var(NAME) {
        run(&name).expect("the example runs");
    }
}

fn prints_what_it_shows(name: &str, source: &str) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", "examples::child", "--nocapture"])
        .env(NAME, name)
        .output()
        .expect("the example starts");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    // The example's own lines stand between those of the test harness.
    let (_, after) = stdout.split_once("running 1 test\n").expect("a harness");
    let after = after
        .strip_prefix("test examples::child ... ")
        .unwrap_or(after);
    let (own, _) = after.rsplit_once("ok\n\ntest result").expect("a harness");
    let own = own.strip_suffix("test examples::child ... ").unwrap_or(own);
    let shown = shown(source);
    let (found, expected): (Vec<_>, Vec<_>) = (
        own.lines().map(pattern).collect(),
        shown.iter().map(|line| pattern(line)).collect(),
    );
    if name == "timeline" {
        // Its output is a picture, docs/timeline.svg.
        assert!(own.starts_with("<svg") && own.trim_end().ends_with("</svg>"));
        return;
    }
    assert_eq!(found, expected, "{own}");
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
fn every_example_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an example").path();
        let source = fs::read_to_string(&path).expect("an example");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let lines = source.lines().count();
        assert!(
            name == "timeline" || lines <= 60,
            "{name} has {lines} lines"
        );
        assert!(name == "timeline" || !shown(&source).is_empty(), "{name}");
        found.push(name);
    }
    found.sort();
    assert_eq!(found, NAMES);
}
