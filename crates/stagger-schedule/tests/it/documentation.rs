//! The figures of docs/methods.md are those of the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use stagger_schedule::{Facts, Kept, Schedule};

const STAGES: usize = 4;

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
    let parts = [(kept(Kept::Input), "input"), (kept(Kept::Graph), "graph")];
    let held: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| format!("{number} {noun}{}", if number == 1 { "" } else { "s" }))
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/methods.md");
    let page = fs::read_to_string(path).expect("the page is there");
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

#[test]
fn every_schedule_on_the_page_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/methods.md");
    let page = fs::read_to_string(path).expect("the page is there");
    let mut mitigations = 0;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("| `dsp + ") else {
            continue;
        };
        let notation = rest.split('`').next().unwrap_or_default();
        Schedule::parse(&format!("dsp + {notation}"), Some(STAGES)).expect("a schedule");
        mitigations += 1;
    }
    assert_eq!(mitigations, 7);
}
