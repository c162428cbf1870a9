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

/// Any method on 1 to 5 stages, with any mitigations that make sense there.
pub fn schedule() -> impl Strategy<Value = Schedule> {
    let numbers = (1..=6_usize, 1..=3_usize, 0..=4_usize);
    let draw = (1..=5_usize, 0..13_usize, numbers, 0..64_u32);
    let other = draw.prop_map(|(stages, method, (micro, batches, sync), mitigations)| {
        let beta = 1.0 - sync as f64 / 8.0;
        let mut text = match method {
            0 => "bp".to_owned(),
            1 => format!("gpipe({micro})"),
            2 => format!("1f1b({micro})"),
            3 => "pipedream".to_owned(),
            4 => format!("2bw({})", stages + micro - 1),
            5 => format!("pipemare(sync={sync})"),
            6 => format!("pipemare(anneal=7, decay=0, sync={sync})"),
            7 => "ddg".to_owned(),
            8 => "fr".to_owned(),
            9 => format!("fdg(beta={beta})"),
            10 => format!("adl({micro}, beta={beta})"),
            11 => "dni".to_owned(),
            _ => "dsp".to_owned(),
        };
        let added = [
            format!("accumulate({batches})"),
            "predict(geometric)".to_owned(),
            "shrink(0.5)".to_owned(),
            "reschedule(100)".to_owned(),
            "gap-aware".to_owned(),
            "look-ahead".to_owned(),
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
