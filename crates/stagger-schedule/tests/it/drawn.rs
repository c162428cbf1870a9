//! Random schedules and runs for the property tests.

#![allow(dead_code)] // Every test binary uses its own share.

use proptest::collection::vec;
use proptest::prelude::*;
use stagger_schedule::{Action, Horizon, Schedule};

/// DSP on 1 to 6 stages, with 0 to 2 batches in every queue.
pub fn dsp() -> impl Strategy<Value = Schedule> {
    vec((0..=2_usize, 0..=2_usize), 0..=5).prop_map(|hops| {
        let m = |stage: usize| {
            hops[stage..]
                .iter()
                .map(|(c, b)| c + b)
                .sum::<usize>()
                .to_string()
        };
        let c = |stage: usize| hops.get(stage).map_or(0, |&(c, _)| c).to_string();
        let list = |number: &dyn Fn(usize) -> String| {
            (0..=hops.len()).map(number).collect::<Vec<_>>().join(",")
        };
        let notation = format!("dsp({};{})", list(&c), list(&m));
        Schedule::parse(&notation, None).expect("drawn by the rules")
    })
}

/// Any method of the registry on 1 to 5 stages, with any numbers and mitigations that it takes.
pub fn schedule() -> impl Strategy<Value = Schedule> {
    let draw = (1..=5_usize, any::<usize>(), vec(0..=7_usize, 6), 0..128_u32);
    let other = draw.prop_map(|(stages, method, numbers, mitigations)| {
        let notations = notations(stages);
        let mut text = with_numbers(&notations[method % notations.len()], stages, &numbers);
        let added = [
            format!("accumulate({})", 1 + numbers[5] % 3),
            "predict(geometric)".to_owned(),
            "shrink(0.5)".to_owned(),
            "reschedule(100)".to_owned(),
            "gap-aware".to_owned(),
            "look-ahead".to_owned(),
            "split".to_owned(),
        ];
        for (bit, mitigation) in added.iter().enumerate() {
            let longer = format!("{text} + {mitigation}");
            if mitigations >> bit & 1 == 1 && Schedule::parse(&longer, Some(stages)).is_ok() {
                text = longer;
            }
        }
        Schedule::parse(&text, Some(stages)).expect("drawn by the rules")
    });
    prop_oneof![1 => dsp(), 3 => other]
}

/// The example of every method, and forms of some that it does not show.
fn notations(stages: usize) -> Vec<String> {
    let others = ["pipemare(anneal=7, decay=0, sync=0)", "adl(4, beta=0.5)"];
    let mut notations = Schedule::examples(Some(stages));
    notations.extend(others.map(str::to_owned));
    notations
}

/// The notation with each of its numbers replaced by a drawn one, or by eighths where it is a fraction, as far as the method
/// takes it.
fn with_numbers(notation: &str, stages: usize, numbers: &[usize]) -> String {
    // Digits in the name are no numbers: `1f1b`, `2bw`.
    let (name, arguments) = notation.split_at(notation.find('(').unwrap_or(notation.len()));
    let is_digit = |character: char| character.is_ascii_digit() || character == '.';
    let mut text = notation.to_owned();
    let mut done = name.len();
    let count = arguments
        .split(|c| !is_digit(c))
        .filter(|part| !part.is_empty())
        .count();
    for drawn in numbers.iter().cycle().take(count) {
        let Some(start) = text[done..].find(is_digit).map(|at| done + at) else {
            break;
        };
        let end = text[start..]
            .find(|c| !is_digit(c))
            .map_or(text.len(), |at| start + at);
        let number = if text[start..end].contains('.') {
            ((drawn + 1) as f64 / 8.0).to_string()
        } else {
            drawn.to_string()
        };
        let changed = format!("{}{number}{}", &text[..start], &text[end..]);
        done = if Schedule::parse(&changed, Some(stages)).is_ok() {
            text = changed;
            start + number.len()
        } else {
            end
        };
    }
    text
}

/// Up to 20 batches with evaluations and snapshots, some of them beyond the end.
pub fn horizon() -> impl Strategy<Value = Horizon> {
    let versions = || {
        vec(0..24_usize, 0..4).prop_map(|mut versions| {
            versions.sort_unstable();
            versions.dedup();
            versions
        })
    };
    (0..20_usize, versions(), versions()).prop_map(|(batches, evaluate_at, snapshot_at)| Horizon {
        batches,
        evaluate_at,
        snapshot_at,
        ..Horizon::default()
    })
}

/// A chooser for the interpreter that is different for every seed.
pub fn chooser(mut seed: u64) -> impl FnMut(&[usize]) -> usize + Send + 'static {
    move |ready| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % ready.len()
    }
}

/// The programs of all stages.
pub fn programs(schedule: &Schedule, horizon: &Horizon) -> Vec<Vec<Action>> {
    (0..schedule.stages())
        .map(|stage| schedule.program(stage, horizon).collect())
        .collect()
}
