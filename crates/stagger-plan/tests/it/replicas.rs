//! Simulated runs with replicas.

use std::sync::Arc;

use proptest::prelude::*;
use stagger_plan::{
    Distribution, HopTimes, LeastStaleness, Pipeline, RingTimes, Simulated, Simulation, Step, Times,
};
use stagger_schedule::{Action, Horizon, Replicas, Schedule};

use crate::support::{microseconds, replicated_runs, runs};

const BATCHES: usize = 12;

/// All steps of a run, as they are told, and what it comes to.
fn run(schedule: &Schedule, times: &Times) -> (Vec<Step>, Simulated) {
    let mut steps = Vec::new();
    let simulation = Simulation {
        schedule,
        times,
        batches: BATCHES,
        warmup: 0,
    };
    let simulated = simulation.run(|step| steps.push(step)).unwrap();
    (steps, simulated)
}

fn times(schedule: &Schedule, pipeline: &Pipeline) -> Times {
    Times::new(pipeline, schedule.micro_batches(), 5)
}

fn seconds(schedule: &Schedule, pipeline: &Pipeline) -> f64 {
    run(schedule, &times(schedule, pipeline)).1.wall_seconds
}

/// Durations that are drawn, in place of constant ones.
fn random(pipeline: &mut Pipeline) {
    for place in &mut pipeline.places {
        place.backward = Distribution::Exponential {
            mean: place.backward.mean(),
        };
    }
    for hop in &mut pipeline.hops {
        hop.latency = Distribution::Exponential {
            mean: hop.latency.mean(),
        };
    }
}

proptest! {
    /// Nothing changes where every stage has one replica.
    #[test]
    fn one_replica_of_each_stage_is_a_run_without((schedule, mut pipeline) in runs(), samples in 1_usize..100) {
        random(&mut pipeline);
        let one = Replicas::new(&[1], schedule.stages()).unwrap();
        let shared = pipeline.shared_out(&one, Some(samples));
        prop_assert_eq!(&shared, &pipeline);
    }

    /// The first replicas draw what stages without others draw; the others draw for themselves.
    #[test]
    fn replicas_draw_for_themselves(seed in any::<u64>(), batch in 0_usize..1000) {
        let schedule = Schedule::parse("dsp", Some(2)).unwrap();
        let mut alone = Pipeline::equal(&schedule, 0.01);
        alone.hops[0].latency = "exponential(5ms)".parse().unwrap();
        random(&mut alone);
        let mut shared = alone.shared_out(&Replicas::new(&[3], 2).unwrap(), None);
        // The distributions of whole micro-batches.
        for (number, place) in shared.places.iter_mut().enumerate() {
            *place = alone.places[number / 3].clone();
        }
        let [alone, shared] = [alone, shared].map(|pipeline| Times::new(&pipeline, 1, seed));
        let action = Action::Backward { batch, micro: 0 };
        for stage in 0..2 {
            let drawn: Vec<u64> = (0..3).map(|replica| shared.action(3 * stage + replica, action, false)).collect();
            prop_assert_eq!(drawn[0], alone.action(stage, action, false));
            prop_assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2], "{:?}", drawn);
        }
        let latency = |times: &Times, link| times.transfer(link, stagger_plan::Direction::Up, batch, 0).1;
        prop_assert_eq!(latency(&shared, 0), latency(&alone, 0));
        prop_assert_ne!(latency(&shared, 1), latency(&alone, 0));
    }

    /// R replicas of everything take an R-th of the time, where nothing but passes takes any.
    #[test]
    fn equal_replicas_divide_the_time((schedule, pipeline) in runs(), of in 2_usize..4) {
        prop_assume!(!schedule.synthesizes());
        let mut pipeline = pipeline;
        // So that every share is a whole number of nanoseconds.
        for place in &mut pipeline.places {
            place.update = Distribution::ZERO;
            for time in [&mut place.forward, &mut place.recompute, &mut place.backward] {
                *time = time.times(6.0);
            }
        }
        pipeline.hops.fill(HopTimes::NONE);
        let shared = pipeline.shared_out(&Replicas::new(&[of], schedule.stages()).unwrap(), None);
        let (one, all) = (seconds(&schedule, &pipeline), seconds(&schedule, &shared));
        // Roomier queues can only help.
        prop_assert!(all * of as f64 <= one * (1.0 + 1e-9), "{schedule}: {one} {all}");
        let roomy = (0..schedule.stages() - 1).all(|stage| {
            let none = Replicas::none(schedule.stages());
            none.queues(stage, &schedule) == shared.replicas.queues(stage, &schedule)
        });
        if roomy || schedule.stages() == 1 {
            prop_assert!((all * of as f64 / one - 1.0).abs() < 1e-9, "{schedule}: {one} {all}");
        }
    }

    /// A sum of known times comes on top of what a batch of one stage takes, and the slowest replica decides the rest.
    #[test]
    fn a_sum_adds_its_time(
        passes in prop::collection::vec(1_u16..2000, 1..6),
        occupies in 0_u16..100,
        latency in 0_u16..100,
    ) {
        let schedule = Schedule::parse("bp", Some(1)).unwrap();
        let of = passes.len();
        let alone = Pipeline::equal(&schedule, 0.001);
        let slowest = passes.iter().copied().max().unwrap_or_default();
        let pipeline = |passes: &[u16]| {
            let mut pipeline = alone.shared_out(&Replicas::new(&[of], 1).unwrap(), None);
            for (place, &passes) in pipeline.places.iter_mut().zip(passes) {
                place.forward = microseconds(passes);
                place.backward = Distribution::ZERO;
            }
            pipeline.rings[0] = RingTimes { occupies: microseconds(occupies), latency: microseconds(latency) };
            pipeline
        };
        let sum = (2 * (of - 1)) as u64 * (u64::from(occupies) + u64::from(latency));
        let equal = vec![slowest; of];
        let of_batch = u64::from(slowest) + sum;
        let found = seconds(&schedule, &pipeline(&equal));
        let expected = BATCHES as f64 * of_batch as f64 * 1e-6;
        prop_assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        // With other replicas that are faster, messages of some may be early.
        let found = seconds(&schedule, &pipeline(&passes));
        let least = BATCHES as f64 * f64::from(slowest) * 1e-6;
        prop_assert!(found <= expected + 1e-12 && found >= least - 1e-12, "{found}: {least} to {expected}");
    }

    /// Every replica executes its stage's program; none updates before all have pulled the batch back.
    #[test]
    fn every_place_executes_its_program((schedule, pipeline) in replicated_runs()) {
        let mut pipeline = pipeline;
        random(&mut pipeline);
        let (steps, _) = run(&schedule, &times(&schedule, &pipeline));
        for number in 0..pipeline.replicas.places() {
            let place = pipeline.replicas.place(number);
            let own = steps.iter().filter(|step| (step.stage, step.replica) == (place.stage, place.replica));
            let found: Vec<Action> = own.map(|step| step.action).collect();
            let expected: Vec<Action> = schedule.program(place.stage, &Horizon::of(BATCHES)).collect();
            prop_assert_eq!(found, expected);
        }
        for step in &steps {
            let Action::Update { version } = step.action else { continue };
            let of_stage = steps.iter().filter(|other| other.stage == step.stage);
            let backwards = of_stage.filter(|other| matches!(other.action, Action::Backward { batch, .. } if batch == version));
            for other in backwards {
                prop_assert!(other.ends_at <= step.starts_at, "{other:?} {step:?}");
            }
        }
    }

    /// Nothing is faster with one place that is slower.
    #[test]
    fn a_slow_replica_slows_its_stage((schedule, pipeline) in replicated_runs(), which in any::<prop::sample::Index>()) {
        let slow = which.index(pipeline.replicas.places());
        let slow = pipeline.replicas.place(slow);
        let even = times(&schedule, &pipeline);
        let uneven = even.clone().slowed_by(Arc::new(move |place, _| f64::from(u8::from(place == slow))));
        let ends = |times: &Times| run(&schedule, times).1.wall_seconds;
        prop_assert!(ends(&uneven) >= ends(&even));
    }
}

/// Two replicas of 4 ms a batch, of which one takes twice as long: so does the stage, and the other one waits.
#[test]
fn the_stage_is_as_fast_as_its_slowest_replica() {
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let pipeline = Pipeline::equal(&schedule, 0.008);
    let pipeline = pipeline.shared_out(&Replicas::new(&[2, 1], 2).unwrap(), Some(8));
    let times = Times::new(&pipeline, 1, 0);
    let slowed = times.slowed_by(Arc::new(|place, _| {
        f64::from(u8::from(place.stage == 0 && place.replica == 1)) * 3.0
    }));
    let simulation = Simulation {
        schedule: &schedule,
        times: &slowed,
        batches: 600,
        warmup: 100,
    };
    let simulated = simulation.run(|_| {}).unwrap();
    assert!((simulated.batches_per_second * 0.016 - 1.0).abs() < 1e-3);
    let [first, second] = &simulated.stages[..] else {
        panic!("two stages");
    };
    assert_eq!((first.replicas, second.replicas), (2, 1));
    // The one that works most stands for the stage: the other works a quarter of that.
    assert!(first.busy_share > 0.999, "{first:?}");
    assert!((first.mean_busy_share - 0.625).abs() < 1e-3, "{first:?}");
    assert!((second.busy_share - 0.5).abs() < 1e-3, "{second:?}");
    let bubble = 1.0 - (1.0 + 0.25 + 0.5) / 3.0;
    assert!((simulated.bubble_share() - bubble).abs() < 1e-3);
}

/// What replicas wait for each other is no bubble that staleness could fill.
#[test]
fn a_stage_that_sums_up_is_kept_busy_too() {
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let mut pipeline =
        Pipeline::equal(&schedule, 0.040).shared_out(&Replicas::new(&[2, 2], 2).unwrap(), None);
    for ring in &mut pipeline.rings {
        ring.occupies = Distribution::Constant(0.010);
    }
    let found = LeastStaleness::default().search(&Times::new(&pipeline, 1, 0));
    let found = found.unwrap();
    assert!(found.is_enough);
    assert_eq!(found.schedule.to_string(), "dsp(m=1,0)");
    for stage in &found.simulated.stages {
        // Passes of 20 ms, and a sum of as many.
        assert!((stage.busy_share - 0.5).abs() < 0.01, "{stage:?}");
        assert!((stage.sum_share - 0.5).abs() < 0.01, "{stage:?}");
    }
}

/// Seven samples over three replicas: two, two and three of them.
#[test]
fn shares_are_whole_samples() {
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.040);
    pipeline.hops[0].activation = Distribution::Constant(0.007);
    let shared = pipeline.shared_out(&Replicas::new(&[3, 1], 2).unwrap(), Some(7));
    let milliseconds = |time: &Distribution| (time.mean() * 1e6).round() / 1e3;
    let backwards: Vec<f64> = (shared.places.iter())
        .map(|place| milliseconds(&place.backward))
        .collect();
    assert_eq!(backwards, [5.714, 5.714, 8.571, 26.667]);
    let transfers: Vec<f64> = (shared.hops.iter())
        .map(|hop| milliseconds(&hop.activation))
        .collect();
    assert_eq!(transfers, [2.0, 2.0, 3.0]);
}

/// `dp(4)` is backpropagation on one stage of which there are four.
#[test]
fn data_parallelism_is_a_stage_with_replicas() {
    let schedule = Schedule::parse("dp(4)", None).unwrap();
    let mut pipeline =
        Pipeline::equal(&schedule, 0.040).shared_out(&Replicas::new(&[4], 1).unwrap(), Some(64));
    pipeline.rings[0] = RingTimes {
        occupies: Distribution::Constant(0.001),
        latency: Distribution::Constant(0.0005),
    };
    // 10 ms for a share, and six messages of 1.5 ms.
    let found = seconds(&schedule, &pipeline);
    assert!((found - BATCHES as f64 * 0.019).abs() < 1e-9, "{found}");
    assert!((pipeline.rings[0].seconds(4) - 0.009).abs() < 1e-12);
}
