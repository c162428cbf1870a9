//! Simulated runs.

use proptest::prelude::*;
use stagger_plan::{Distribution, HopTimes, Pipeline, Simulation, SimulationError, Step, Times};
use stagger_schedule::{Action, ForwardWeights, Horizon, Schedule, measured_staleness};

use crate::support::runs;

/// All steps of a run, per stage.
fn steps(schedule: &Schedule, times: &Times, batches: usize) -> Vec<Vec<Step>> {
    let mut steps = vec![Vec::new(); schedule.stages()];
    let simulation = Simulation {
        schedule,
        times,
        batches,
        warmup: 0,
    };
    simulation.run(|step| steps[step.stage].push(step)).unwrap();
    steps
}

proptest! {
    #[test]
    fn every_stage_executes_its_program((schedule, pipeline) in runs(), batches in 0_usize..30) {
        let times = Times::new(&pipeline, schedule.micro_batches(), 0);
        for (stage, steps) in steps(&schedule, &times, batches).into_iter().enumerate() {
            let program = || schedule.program(stage, &Horizon::of(batches));
            let actions: Vec<Action> = steps.iter().map(|step| step.action).collect();
            prop_assert_eq!(actions, program().collect::<Vec<_>>());
            let staleness: Vec<usize> = steps.iter().filter_map(|step| step.staleness).collect();
            // A schedule with double-buffered weights uses older ones than those of its forward pass.
            if schedule.policy(stage).forward_weights != ForwardWeights::Previous {
                prop_assert_eq!(staleness, measured_staleness(program()));
            }
        }
    }

    /// Nothing begins before the stage is free and what it takes has arrived, and no queue overflows.
    #[test]
    fn times_keep_the_rules((schedule, pipeline) in runs(), batches in 1_usize..20) {
        let times = Times::new(&pipeline, schedule.micro_batches(), 0);
        let steps = steps(&schedule, &times, batches);
        let of = |stage: usize, is_one: fn(&Action) -> bool| -> Vec<&Step> {
            steps[stage].iter().filter(|step| is_one(&step.action)).collect()
        };
        for stage in &steps {
            for pair in stage.windows(2) {
                prop_assert!(pair[0].ends_at <= pair[1].starts_at);
            }
        }
        for (hop, of_stage) in steps.iter().enumerate().take(schedule.stages() - 1) {
            let forward: fn(&Action) -> bool = |action| matches!(action, Action::Forward { .. });
            let (sent, taken) = (of(hop, forward), of(hop + 1, forward));
            let capacity = schedule.policy(hop).forward_queue;
            for (at, (sent, taken)) in sent.iter().zip(&taken).enumerate() {
                prop_assert!(sent.ends_at <= taken.starts_at);
                // What the sender does next comes after there was room.
                let next = of_stage.iter().position(|step| step == *sent).map(|at| at + 1);
                if let (Some(freed), Some(next)) = (at.checked_sub(capacity), next)
                    && let Some(next) = of_stage.get(next)
                {
                    prop_assert!(next.starts_at >= of(hop + 1, forward)[freed].starts_at);
                }
            }
        }
    }

    /// The same seed gives the same run, and another seed another one.
    #[test]
    fn random_durations_follow_from_the_seed(seed in any::<u64>()) {
        let schedule = Schedule::parse("dsp", Some(3)).unwrap();
        let mut pipeline = Pipeline::equal(&schedule, 0.01);
        for stage in &mut pipeline.places {
            stage.backward = "lognormal(5ms,0.5)".parse().unwrap();
        }
        let run = |seed| steps(&schedule, &Times::new(&pipeline, 1, seed), 20);
        prop_assert_eq!(run(seed), run(seed));
        prop_assert_ne!(run(seed), run(seed.wrapping_add(1)));
    }
}

/// Two stages of 4 ms, of which one takes 1 ms per unit, over a link that takes 2 ms and 3 ms.
#[test]
fn a_small_run_by_hand() {
    let schedule = Schedule::parse("bp", Some(2)).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.003);
    pipeline.hops = vec![HopTimes {
        activation: Distribution::Constant(0.002),
        gradient: Distribution::Constant(0.001),
        latency: Distribution::Constant(0.003),
    }];
    let times = Times::new(&pipeline, 1, 0);
    let steps = steps(&schedule, &times, 2);
    let at: Vec<(String, u64, u64)> = (steps.iter().flatten())
        .map(|step| {
            let name = format!("{}:{}", step.stage, step.action);
            (name, step.starts_at / 1_000_000, step.ends_at / 1_000_000)
        })
        .filter(|(_, start, end)| end > start)
        .collect();
    let expected = [
        ("0:F0", 0, 1),
        // The gradient is sent at 9, and arrives at 13.
        ("0:B0", 13, 15),
        ("0:F1", 15, 16),
        ("0:B1", 28, 30),
        // The activation is sent at 1, and arrives at 6.
        ("1:F0", 6, 7),
        ("1:B0", 7, 9),
        ("1:F1", 21, 22),
        ("1:B1", 22, 24),
    ];
    let expected = expected.map(|(name, start, end)| (name.to_owned(), start, end));
    assert_eq!(at, expected);
}

#[test]
fn shares_add_up_and_staleness_is_counted() {
    let schedule = Schedule::parse("dsp(1,1,0;4,2,0)", None).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.01);
    pipeline.places[1].backward = Distribution::Constant(0.02);
    let times = Times::new(&pipeline, 1, 0);
    let simulated = Simulation {
        schedule: &schedule,
        times: &times,
        batches: 500,
        warmup: 50,
    }
    .run(|_| {})
    .unwrap();
    for (stage, staleness) in simulated.stages.iter().zip([4, 2, 0]) {
        let shares = stage.busy_share + stage.receive_share + stage.send_share;
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
        assert_eq!(stage.staleness_max, staleness);
    }
    assert!(simulated.stages[1].busy_share > 0.999);
    assert!((simulated.stages[0].busy_share - 0.4).abs() < 0.001);
    assert!((simulated.batches_per_second - 40.0).abs() < 0.1);
    // What stage 1 does not get to waits for it.
    assert!(simulated.stages[0].activations_mean > 0.9);
}

/// With the same seed, the halves of a pass take what the whole pass takes, split as the stage says.
#[test]
fn halves_are_parts_of_the_pass_that_is_drawn() {
    let schedule = Schedule::parse("zb(3)", Some(2)).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.012);
    pipeline.places[1].backward = "lognormal(8ms,0.5)".parse().unwrap();
    pipeline.places[1].weights_share = Some(0.25);
    let times = Times::new(&pipeline, 3, 7);
    for place in 0..2 {
        for (batch, micro) in [(0, 0), (0, 2), (5, 1)] {
            let backward = Action::Backward { batch, micro };
            let half = Action::WeightGradients { batch, micro };
            let whole = times.action(place, backward, false);
            let halves = [
                times.action(place, backward, true),
                times.action(place, half, true),
            ];
            assert_eq!(halves.iter().sum::<u64>(), whole);
            let share = [0.5, 0.25][place];
            let found = halves[1] as f64 / whole as f64;
            assert!((found - share).abs() < 1e-6, "{found}");
        }
    }
}

/// The gradient goes down before the gradients of weights are computed, so the stage below does not wait for these.
#[test]
fn a_first_half_sends_its_gradient() {
    let schedule = Schedule::parse("zb(1)", Some(2)).unwrap();
    let second = |seconds: f64| Distribution::Constant(seconds);
    let mut pipeline = Pipeline::equal(&schedule, 0.003);
    for place in &mut pipeline.places {
        (place.forward, place.backward) = (second(1.0), second(2.0));
    }
    let times = Times::new(&pipeline, 1, 0);
    let at: Vec<(String, u64, u64)> = steps(&schedule, &times, 1)
        .iter()
        .flatten()
        .map(|step| {
            let name = format!("{}:{}", step.stage, step.action);
            (
                name,
                step.starts_at / 1_000_000_000,
                step.ends_at / 1_000_000_000,
            )
        })
        .collect();
    let expected = [
        ("0:F0", 0, 1),
        ("0:B0", 3, 4),
        ("0:W0", 4, 5),
        ("0:U0", 5, 5),
        ("1:F0", 1, 2),
        ("1:B0", 2, 3),
        ("1:W0", 3, 4),
        ("1:U0", 4, 4),
    ];
    let expected = expected.map(|(name, start, end)| (name.to_owned(), start, end));
    assert_eq!(at, expected);
}

#[test]
fn times_of_another_number_of_stages_are_refused() {
    let schedules = [2, 3].map(|stages| Schedule::parse("dsp", Some(stages)).unwrap());
    let times = Times::new(&Pipeline::equal(&schedules[0], 0.01), 1, 0);
    let simulation = Simulation {
        schedule: &schedules[1],
        times: &times,
        batches: 5,
        warmup: 0,
    };
    let expected = SimulationError::Stages {
        expected: 3,
        found: 2,
    };
    assert_eq!(simulation.run(|_| {}), Err(expected));
}

/// Stages that were ahead feed a faster last stage for a while; the run is not faster for it.
#[test]
fn a_head_start_is_no_rate() {
    let schedule = Schedule::parse("dsp(m=300,0)", None).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.040);
    pipeline.places[1].backward = Distribution::Constant(0.005);
    let simulation = Simulation {
        schedule: &schedule,
        times: &Times::new(&pipeline, 1, 3),
        batches: 400 + schedule.lead(),
        warmup: 100,
    };
    let simulated = simulation.run(|_| {}).unwrap();
    let lasting = simulated.lasting_batches_per_second();
    assert!((lasting / 25.0 - 1.0).abs() < 1e-3, "{lasting}");
    assert!(simulated.batches_per_second > 30.0);
}
