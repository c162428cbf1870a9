//! The notation of schedules, and what is derived from it.

use stagger::schedule::{Horizon, Interpreter, Schedule, explain};

use crate::bounded;

/// What is derived is bounded by stages, staleness and micro-batches, not by the length of the text.
const FACTOR: usize = 64;
/// Schedules up to this size are run and explained.
const MOST_STAGES: usize = 5;
const MOST_STALENESS: usize = 12;
const MOST_MICRO_BATCHES: usize = 6;
const BATCHES: usize = 4;

/// Checks one input; text that is not UTF-8 is none.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for stages in [None, Some(1), Some(3)] {
        match bounded(text.as_bytes(), FACTOR, || Schedule::parse(text, stages)) {
            Ok(schedule) => check_schedule(&schedule),
            Err(error) => {
                assert!((1..=text.chars().count() + 1).contains(&error.column()));
                // Where no number of stages was asked for, some fit any, and some have one of their own.
                let fits = |stages| Schedule::parse(error.example(), stages).is_ok();
                assert!(
                    fits(stages) || stages.is_none() && fits(Some(3)),
                    "{error}"
                );
            }
        }
    }
}

fn check_schedule(schedule: &Schedule) {
    let stages = schedule.stages();
    let text = schedule.to_string();
    let again = Schedule::parse(&text, Some(stages)).unwrap();
    assert_eq!(again.to_string(), text);
    assert_eq!(again.policies(), schedule.policies());
    assert_eq!(again.corrections(), schedule.corrections());
    assert!(again.gives_the_numbers_of(schedule));

    let small = stages <= MOST_STAGES
        && schedule.micro_batches() <= MOST_MICRO_BATCHES
        && schedule
            .policies()
            .iter()
            .all(|policy| policy.staleness <= MOST_STALENESS);
    if small {
        let explained = explain(schedule, BATCHES);
        let shown = |c: char| c == '\n' || !c.is_control();
        assert!(explained.ends_with('\n') && explained.chars().all(shown));
        for step in Interpreter::new(schedule, &Horizon::of(BATCHES)) {
            step.expect("a schedule that does not deadlock");
        }
    }
}
