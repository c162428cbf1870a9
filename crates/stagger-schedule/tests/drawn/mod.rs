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
