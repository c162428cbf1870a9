//! Right and wrong schedule strings.

mod drawn;

use proptest::prelude::*;
use stagger_schedule::{MAX_STAGES, NotationProblem, Schedule};

fn canonical(text: &str, stages: impl Into<Option<usize>>) -> String {
    Schedule::parse(text, stages.into()).unwrap().to_string()
}

/// The message for a wrong string and the place it points at.
fn wrong(text: &str, stages: impl Into<Option<usize>>) -> String {
    let error = Schedule::parse(text, stages.into()).unwrap_err();
    assert!(
        error.column() >= 1 && error.column() <= text.chars().count() + 1,
        "{error}"
    );
    error.to_string()
}

#[test]
fn full_and_short_forms_print_canonically() {
    assert_eq!(canonical("dsp(1,1,0;4,2,0)", None), "dsp(1,1,0;4,2,0)");
    assert_eq!(
        canonical(" DSP ( 1, 1,0 ;4 , 2,0 ) ", 3),
        "dsp(1,1,0;4,2,0)"
    );
    assert_eq!(canonical("dsp", 3), "dsp(1,1,0;4,2,0)");
    assert_eq!(canonical("dsp()", 2), "dsp(1,0;2,0)");
    assert_eq!(canonical("dsp(m=4,2,0)", None), "dsp(1,1,0;4,2,0)");
    assert_eq!(canonical("dsp(M = 5,2,0)", None), "dsp(2,1,0;5,2,0)");
    assert_eq!(canonical("dsp(m=4,2,0;c=0,2,0)", None), "dsp(0,2,0;4,2,0)");
    assert_eq!(canonical("dsp(c=0,2,0,m=4,2,0)", None), "dsp(0,2,0;4,2,0)");
    assert_eq!(canonical("dsp", 1), "dsp(0;0)");
    assert_eq!(canonical("dsp(0;0)", 1), "dsp(0;0)");
    assert_eq!(canonical("BP", 4), "bp");
    assert_eq!(canonical("bp()", 1), "bp");
}

#[test]
fn the_largest_schedule_fits_into_the_longest_text() {
    let queues = vec!["0"; MAX_STAGES].join(",");
    let staleness = vec!["1000"; MAX_STAGES - 1].join(",");
    let text = format!("dsp({queues};{staleness},0)");
    assert_eq!(canonical(&text, MAX_STAGES), text);
}

#[test]
fn wrong_strings_are_explained() {
    let cases: &[(&str, Option<usize>)] = &[
        ("", None),
        ("   ", Some(2)),
        ("dps(1,0;2,0)", None),
        ("(1,0;2,0)", None),
        ("dsp(1,0;2,0", None),
        ("dsp(1,0;2,0))", None),
        ("dsp(1,0;2,0) x", None),
        ("dsp 1,0;2,0", None),
        ("dsp(1,,0;2,0)", None),
        ("dsp(1,0;)", None),
        ("dsp(1 0;2 0)", None),
        ("dsp(m=)", None),
        ("dsp(m=n=2,0)", None),
        ("dsp(s=2,0)", None),
        ("dsp(1,0;2,0;3,0)", None),
        ("dsp(m=2,0;m=2,0)", None),
        ("dsp(4,2,0)", None),
        ("dsp", None),
        ("dsp", Some(0)),
        ("dsp", Some(65)),
        ("dsp(1.5,0;2,0)", None),
        ("dsp(-1,0;2,0)", None),
        ("dsp(1,0;2000,0)", None),
        ("dsp(1,0;99999999999999999999999,0)", None),
        ("dsp(1,1,0;4,2)", None),
        ("dsp(1,0;4,2,0)", Some(3)),
        ("dsp(1,1,0;4,2,0)", Some(2)),
        ("dsp(1,1,0;2,4,0)", None),
        ("dsp(1,1,0;4,2,1)", None),
        ("dsp(1,1,1;4,2,0)", None),
        ("dsp(3,1,0;4,2,0)", None),
        ("bp", None),
        ("bp(2)", Some(2)),
        ("dsp(1,0;2,0\u{7}\u{301})", None),
    ];
    let explained: Vec<String> = cases
        .iter()
        .map(|&(text, stages)| format!("{stages:?}: {}", wrong(text, stages)))
        .collect();
    insta::assert_snapshot!(explained.join("\n"));
}

#[test]
fn the_example_of_an_error_parses_for_the_number_of_stages() {
    for stages in 1..=MAX_STAGES {
        let error = Schedule::parse("dsp(7)", Some(stages)).unwrap_err();
        assert!(
            Schedule::parse(error.example(), Some(stages)).is_ok(),
            "{error}"
        );
    }
}

#[test]
fn too_many_numbers_and_characters_are_refused() {
    let zeros = vec!["0"; MAX_STAGES + 1].join(",");
    let error = Schedule::parse(&format!("dsp(m={zeros})"), None).unwrap_err();
    assert_eq!(
        error.problem(),
        &NotationProblem::StageCount {
            found: MAX_STAGES + 1
        }
    );
    let error = Schedule::parse(&"d".repeat(1_000_000), None).unwrap_err();
    assert!(matches!(error.problem(), NotationProblem::TooLong { .. }));
    assert!(error.to_string().len() < 2000);
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(schedule in drawn::dsp()) {
        let text = schedule.to_string();
        prop_assert_eq!(canonical(&text, schedule.stages()), text.as_str());
        prop_assert_eq!(canonical(&text.to_uppercase().replace(',', " , "), None), text);
    }

    #[test]
    fn no_text_panics(text in ".*", stages in proptest::option::of(0..70_usize)) {
        let _ = Schedule::parse(&text, stages);
    }

    #[test]
    fn no_text_that_looks_like_a_schedule_panics(
        text in "(dsp|bp|x)? ?\\(?([cm]?=?[0-9]{0,5}[,; ]?){0,8}\\)?",
        stages in proptest::option::of(0..8_usize),
    ) {
        match Schedule::parse(&text, stages) {
            Ok(schedule) => {
                let again = Schedule::parse(&schedule.to_string(), Some(schedule.stages()));
                prop_assert_eq!(again.unwrap().policies(), schedule.policies());
            }
            Err(error) => {
                prop_assert!(error.column() >= 1 && error.column() <= text.chars().count() + 1);
                let stages = stages.filter(|stages| (1..=MAX_STAGES).contains(stages)).unwrap_or(3);
                let example = Schedule::parse(error.example(), Some(stages));
                prop_assert!(example.is_ok(), "{}", error);
            }
        }
    }
}
