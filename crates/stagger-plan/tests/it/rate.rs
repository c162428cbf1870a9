//! The exact rate.

use proptest::prelude::*;
use stagger_plan::{Pipeline, Simulation, Times, exact_period};
use stagger_schedule::{Schedule, ideal_speedup};

use crate::support::{replicated_runs, runs};

/// Constant durations: the simulation comes to the exact rate.
fn check_rate(schedule: &Schedule, pipeline: &Pipeline) -> Result<(), TestCaseError> {
    let times = Times::new(pipeline, schedule.micro_batches(), 0);
    let period = exact_period(schedule, &times).unwrap() / 1e9;
    let warmup = 400
        + match schedule.synchronous_batches() {
            usize::MAX => 0,
            first => first,
        };
    // A rhythm over several batches moves the ends of the measurement by less than one in a thousand.
    let simulation = Simulation {
        schedule,
        times: &times,
        batches: warmup + 6000,
        warmup,
    };
    let simulated = simulation.run(|_| {}).unwrap();
    let found = 1.0 / simulated.batches_per_second;
    prop_assert!(
        (found / period - 1.0).abs() < 1e-3,
        "{schedule}: {found} s, exactly {period} s"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_simulation_has_the_exact_rate((schedule, pipeline) in runs()) {
        check_rate(&schedule, &pipeline)?;
    }

    #[test]
    fn a_simulation_with_replicas_has_the_exact_rate((schedule, pipeline) in replicated_runs()) {
        check_rate(&schedule, &pipeline)?;
    }
}

#[test]
fn equal_stages_run_at_the_ideal_speed() {
    for stages in [1, 2, 3, 5, 8, 16] {
        for notation in [
            "bp",
            "dsp",
            "pipedream",
            "gpipe(4)",
            "1f1b(4)",
            "zb(4)",
            "fr",
            "ddg",
            "dni",
        ] {
            let Ok(schedule) = Schedule::parse(notation, Some(stages)) else {
                continue;
            };
            let step = 0.012 / schedule.micro_batches() as f64;
            let times = Times::new(
                &Pipeline::equal(&schedule, step),
                schedule.micro_batches(),
                0,
            );
            let period = exact_period(&schedule, &times).unwrap() / 1e9;
            // One device runs the parts of all stages, without a recompute.
            let alone: f64 = (schedule.recomputes().iter())
                .map(|recomputes| if *recomputes { 0.75 * 0.012 } else { 0.012 })
                .sum();
            let (found, expected) = (alone / period, ideal_speedup(&schedule));
            assert!(
                (found / expected - 1.0).abs() < 0.02,
                "{schedule} on {stages}: {found} {expected}"
            );
        }
    }
}

/// DESIGN of DSP: without jitter one batch of staleness per hop is enough, and less is not.
#[test]
fn staleness_of_one_per_hop_is_enough_when_transfers_are_free() {
    let period = |notation: &str| {
        let schedule = Schedule::parse(notation, Some(4)).unwrap();
        let times = Times::new(&Pipeline::equal(&schedule, 0.012), 1, 0);
        exact_period(&schedule, &times).unwrap() / 1e6
    };
    let close = |notation, expected: f64| {
        let found = period(notation);
        assert!((found - expected).abs() < 1e-6, "{notation}: {found}");
    };
    close("dsp(m=3,2,1,0)", 12.0);
    close("dsp", 12.0);
    assert!(period("dsp(m=2,2,1,0)") > 12.5);
}
