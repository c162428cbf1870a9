//! The pages under docs/ and the code agree: figures, notations, headings and names of tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use stagger_schedule::{Action, Facts, Horizon, Kept, Schedule};

const STAGES: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the page is there")
}

/// What the page says of a method, as this crate works it out.
fn row(notation: &str) -> String {
    let schedule = Schedule::parse(notation, Some(STAGES)).expect("a schedule");
    let facts = Facts::of(&schedule);
    let list = |number: &dyn Fn(usize) -> usize| {
        let numbers = (0..STAGES).map(|stage| number(stage).to_string());
        numbers.collect::<Vec<_>>().join(" ")
    };
    let kept = |kind: Kept| -> usize {
        let of_kind = facts.stages.iter().filter(|stage| stage.kept == kind);
        of_kind.map(|stage| stage.kept_micro_batches).sum()
    };
    let halves = facts.stages.iter();
    let halves = halves.map(|stage| stage.pending_micro_batches).sum();
    let parts = [
        (kept(Kept::Input), "input", "inputs"),
        (kept(Kept::Graph), "graph", "graphs"),
        (halves, "half", "halves"),
    ];
    let held: Vec<String> = parts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, more)| format!("{number} {}", if number == 1 { one } else { more }))
        .collect();
    let share = match facts.micro_batches {
        1 => String::new(),
        of => format!(" of 1/{of} batch"),
    };
    format!(
        "| `{notation}` | {} | {} | {}{share} | {:.0} % | {:.0} % | {:.2} |",
        list(&|stage| facts.stages[stage].staleness),
        list(&|stage| facts.stages[stage].weight_copies),
        held.join(", "),
        100.0 * facts.extra_compute,
        100.0 * facts.bubble,
        facts.ideal_speedup,
    )
}

/// The rows of the table stand for methods on [`STAGES`] stages; a row of a new method is printed where it is wrong.
#[test]
fn the_table_of_methods_is_true() {
    let page = page("methods.md");
    let found: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 8)
        .collect();
    let expected: Vec<String> = found
        .iter()
        .map(|line| row(line.split('`').nth(1).unwrap_or_default()))
        .collect();
    assert_eq!(found, expected, "\n{}\n", expected.join("\n"));

    let method = |line: &&str| {
        let notation = line.split('`').nth(1).unwrap_or_default();
        let schedule = Schedule::parse(notation, Some(STAGES)).expect("a schedule");
        schedule.method_name()
    };
    let listed: BTreeSet<&str> = found.iter().map(method).collect();
    assert_eq!(listed.len(), found.len(), "each method has one row");
    assert!(listed.len() >= 12, "{listed:?}");
}

/// By how many micro-batches the running statistics of each stage are ahead of its parameters when it evaluates a version.
fn statistics_ahead(notation: &str) -> String {
    const VERSION: usize = 20;
    let schedule = Schedule::parse(notation, Some(STAGES)).expect("a schedule");
    let horizon = Horizon {
        evaluate_at: vec![VERSION],
        ..Horizon::of(3 * VERSION)
    };
    let ahead = (0..STAGES).map(|stage| {
        let mut program = schedule.program(stage, &horizon);
        let mut passes = 0;
        loop {
            match (program.next(), schedule.policy(stage).kept) {
                (Some(Action::Forward { .. }), Kept::Graph) => passes += 1,
                (Some(Action::Recompute { .. }), Kept::Input) => passes += 1,
                (Some(Action::Evaluate { .. }), _) => break,
                (Some(_), _) => {}
                (None, _) => panic!("no evaluation of {notation}"),
            }
        }
        (passes - VERSION * schedule.micro_batches()).to_string()
    });
    format!("| `{notation}` | {} |", ahead.collect::<Vec<_>>().join(" "))
}

#[test]
fn the_table_of_running_statistics_is_true() {
    let page = page("methods.md");
    let notation = |line: &str| line.split('`').nth(1).unwrap_or_default().to_owned();
    let rows = |pipes: usize| {
        let rows = page.lines().filter(move |line| {
            let is_mitigation = line.starts_with("| `dsp +");
            line.starts_with("| `") && line.matches('|').count() == pipes && !is_mitigation
        });
        rows.collect::<Vec<_>>()
    };
    let expected: Vec<String> = (rows(8).iter())
        .map(|line| statistics_ahead(&notation(line)))
        .collect();
    assert_eq!(rows(3), expected, "\n{}\n", expected.join("\n"));
}

#[test]
fn every_schedule_on_the_page_is_one() {
    let page = page("methods.md");
    let mut mitigations = 0;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("| `dsp + ") else {
            continue;
        };
        let notation = rest.split('`').next().unwrap_or_default();
        Schedule::parse(&format!("dsp + {notation}"), Some(STAGES)).expect("a schedule");
        mitigations += 1;
    }
    assert_eq!(mitigations, 8);
}

/// Path and text of every Rust file of the workspace.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("crates")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                sources.push((path, text));
            }
        }
    }
    sources
}

/// The text of all comments in one line, so that a reference may go over the end of a line.
fn comments(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| line.strip_prefix("//"));
    let lines = lines.map(|line| line.trim_start_matches(['/', '!']).trim());
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn references_to_the_algorithm_name_its_headings() {
    let page = page("algorithm.md");
    let headings: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let mut found = 0;
    for (path, source) in sources() {
        let comments = comments(&source);
        for rest in comments.split("docs/algorithm.md").skip(1) {
            let heading = rest
                .strip_prefix(", \"")
                .and_then(|rest| rest.split('"').next());
            let known = heading.is_some_and(|heading| headings.contains(heading));
            assert!(known, "{}: {heading:?}", path.display());
            found += 1;
        }
        let design = ["DESIGN", "§"].join(" ");
        assert!(!source.contains(&design), "{}", path.display());
    }
    assert!(found > 10, "{found} references");
}

#[test]
fn the_tests_of_the_ladder_exist() {
    let page = page("algorithm.md");
    let (_, ladder) = page.split_once("## The ladder").expect("the heading");
    let rows = ladder.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let names: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let sources = sources();
    for name in names {
        let is_there = sources.iter().any(|(path, source)| {
            path.ends_with(name)
                || source.contains(&format!("fn {name}("))
                || source.contains(&format!("fn {name}<"))
        });
        assert!(is_there, "{name}");
    }
}
