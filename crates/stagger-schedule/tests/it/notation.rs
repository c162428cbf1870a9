//! Right and wrong schedule strings.

use crate::drawn;
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
    assert_eq!(canonical("dsp( M=4, 2,0)", None), "dsp(m=4,2,0)");
    assert_eq!(canonical("dsp(M = 5,2,0)", 3), "dsp(m=5,2,0)");
    assert_eq!(canonical("dsp(m=4,2,0;c=0,2,0)", None), "dsp(0,2,0;4,2,0)");
    assert_eq!(canonical("dsp(c=0,2,0,m=4,2,0)", None), "dsp(0,2,0;4,2,0)");
    assert_eq!(canonical("dsp", 1), "dsp(0;0)");
    assert_eq!(canonical("dsp(0;0)", 1), "dsp(0;0)");
    assert_eq!(canonical("BP", 4), "bp");
    assert_eq!(canonical("bp()", 1), "bp");
    assert_eq!(canonical("GPipe( M = 4 )", 3), "gpipe(4)");
    assert_eq!(canonical("1F1B(4)", 3), "1f1b(4)");
    assert_eq!(canonical("pipedream-2bw(4)", 3), "2bw(4)");
    assert_eq!(canonical("fdg(1)", 3), "fdg");
    assert_eq!(canonical("fdg(0.90)", 3), "fdg(beta=0.9)");
    assert_eq!(canonical("adl(4, beta=1.0)", 3), "adl(4)");
    assert_eq!(canonical("adl(4; .5)", 3), "adl(4, beta=0.5)");
    assert_eq!(canonical("pipemare(sync=0)", 3), "pipemare");
    assert_eq!(
        canonical("pipemare(5; 0; 7)", 3),
        "pipemare(anneal=5, decay=0, sync=7)"
    );
}

#[test]
fn mitigations_print_in_one_order() {
    assert_eq!(canonical("dsp+predict", 2), "dsp(1,0;2,0) + predict");
    assert_eq!(
        canonical(
            "fr + Look-Ahead(.95) + gap-aware + reschedule(10) + shrink + ACCUMULATE(4)",
            2
        ),
        "fr + accumulate(4) + shrink(0.9) + reschedule(10) + gap-aware + look-ahead(0.95)"
    );
    assert_eq!(
        canonical("ddg + predict(form=Geometric)", 2),
        "ddg + predict(geometric)"
    );
    assert_eq!(canonical("ddg + predict(linear)", 2), "ddg + predict");
    assert_eq!(canonical("bp + accumulate(3)", 2), "bp + accumulate(3)");
    assert_eq!(canonical("dsp + accumulate(1)", 2), "dsp(1,0;2,0)");
    assert_eq!(
        canonical("DSP + SPLIT + predict", 2),
        "dsp(1,0;2,0) + predict + split"
    );
    assert_eq!(canonical("bp + split", 2), "bp + split");
}

#[test]
fn the_largest_schedule_fits_into_the_longest_text() {
    let queues = vec!["0"; MAX_STAGES].join(",");
    let staleness = vec!["4096"; MAX_STAGES - 1].join(",");
    let text = format!("dsp({queues};{staleness},0)");
    assert_eq!(canonical(&text, MAX_STAGES), text);
}

/// The names of all methods, as a message lists them.
fn names() -> String {
    let schedules = Schedule::examples(None).into_iter().map(|example| {
        // One that fits any number of stages has to be told one.
        let schedule =
            Schedule::parse(&example, None).or_else(|_| Schedule::parse(&example, Some(3)));
        schedule.unwrap().method_name()
    });
    schedules.collect::<Vec<_>>().join(", ")
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
        ("dsp", Some(1025)),
        ("dsp(1.5,0;2,0)", None),
        ("dsp(-1,0;2,0)", None),
        ("dsp(1,0;5000,0)", None),
        ("dsp(1,0;99999999999999999999999,0)", None),
        ("dsp(1,1,0;4,2)", None),
        ("dsp(1,0;4,2,0)", Some(3)),
        ("dsp(1,1,0;4,2,0)", Some(2)),
        ("dsp(1,1,0;2,4,0)", None),
        ("dsp(1,1,0;4,2,1)", None),
        ("dsp(1,1,1;4,2,0)", None),
        ("dsp(3,1,0;4,2,0)", None),
        ("gpipe", Some(2)),
        ("gpipe(0)", Some(2)),
        ("gpipe(4,5)", Some(2)),
        ("gpipe(N=4)", Some(2)),
        ("1f1b(4000)", Some(2)),
        ("2bw(2)", Some(3)),
        ("pipedream(2)", Some(2)),
        ("pipemare(decay=1)", Some(2)),
        ("pipemare(decay=0.0001)", Some(2)),
        ("pipemare(decay=x)", Some(2)),
        ("pipemare(speed=1)", Some(2)),
        ("fdg(beta=0)", Some(2)),
        ("adl(beta=0.5)", Some(2)),
        ("dni", None),
        ("dsp +", Some(2)),
        ("+ predict", Some(2)),
        ("dsp + + predict", Some(2)),
        ("dsp + predikt", Some(2)),
        ("dsp + predict x", Some(2)),
        ("dsp + predict(quadratic)", Some(2)),
        ("dsp + predict + PREDICT", Some(2)),
        ("dsp + predict + look-ahead", Some(2)),
        ("dsp + accumulate", Some(2)),
        ("dsp + accumulate(0)", Some(2)),
        ("dsp + shrink(2)", Some(2)),
        ("dsp + look-ahead(1)", Some(2)),
        ("dsp + gap-aware(1)", Some(2)),
        ("dsp(0,0;0,0) + predict", None),
        ("bp + predict", Some(2)),
        ("gpipe(4) + gap-aware", Some(2)),
        ("1f1b(4) + accumulate(2)", Some(2)),
        ("adl(4) + accumulate(2)", Some(2)),
        ("2bw(4) + predict", Some(2)),
        ("pipemare + predict", Some(2)),
        ("pipemare + reschedule(10)", Some(2)),
        ("fdg(beta=0.5) + shrink(0.5)", Some(2)),
        ("dni + accumulate(2)", Some(2)),
        ("dni + look-ahead", Some(2)),
        ("dsp + shrink(0.5) + shrink(0.5)", Some(2)),
        ("dsp + split + split", Some(2)),
        ("dsp + split(2)", Some(2)),
        ("bp + split", Some(1)),
        ("zb(4) + split", Some(2)),
        ("zb(4) + accumulate(2)", Some(2)),
        ("zb", Some(2)),
        ("bp", None),
        ("bp(2)", Some(2)),
        ("dsp(1,0;2,0\u{7}\u{301})", None),
    ];
    let explained: Vec<String> = cases
        .iter()
        .map(|&(text, stages)| format!("{stages:?}: {}", wrong(text, stages)))
        .collect();
    // Another method changes no other message.
    let explained = explained.join("\n").replace(&names(), "[every method]");
    insta::assert_snapshot!(explained);
}

#[test]
fn the_example_of_an_error_parses_for_the_number_of_stages() {
    for stages in (1..=64).chain([MAX_STAGES]) {
        for wrong in ["dsp(7)", "x", "2bw(0)", "gpipe", "adl + x"] {
            let error = Schedule::parse(wrong, Some(stages)).unwrap_err();
            assert!(
                Schedule::parse(error.example(), Some(stages)).is_ok(),
                "{error}"
            );
        }
        for example in Schedule::examples(Some(stages)) {
            Schedule::parse(&example, Some(stages)).unwrap();
        }
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
    fn what_is_printed_parses_back(schedule in drawn::schedule()) {
        let stages = schedule.stages();
        let text = schedule.to_string();
        let again = Schedule::parse(&text.to_uppercase().replace('+', "  +"), Some(stages)).unwrap();
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(again.policies(), schedule.policies());
        prop_assert_eq!(again.corrections(), schedule.corrections());
        prop_assert_eq!(again.micro_batches(), schedule.micro_batches());
        prop_assert_eq!(again.accumulated_batches(), schedule.accumulated_batches());
    }

    #[test]
    fn a_full_notation_of_dsp_needs_no_number_of_stages(schedule in drawn::dsp()) {
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
        text in "(dsp|bp|gpipe|1f1b|2bw|adl|fdg|pipemare|x)? ?\\(?((m|c|M|beta|decay|sync)?=?[0-9.]{0,5}[,; ]?){0,8}\\)?\
            ( ?\\+ ?(accumulate|predict|shrink|reschedule|gap-aware|look-ahead|split|y)?(\\([0-9.]{0,4}\\))?){0,3}",
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
