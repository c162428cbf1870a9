//! How much staleness is needed.

use std::sync::Arc;

use stagger_plan::{Distribution, HopTimes, LeastStaleness, Pipeline, Simulation, Times};
use stagger_schedule::{Place, Replicas, Schedule};

/// Equal stages of 40 ms on so many devices.
fn equal(stages: usize) -> Pipeline {
    Pipeline::equal(&Schedule::parse("dsp", Some(stages)).unwrap(), 0.040)
}

fn least(pipeline: &Pipeline) -> (usize, bool) {
    let found = LeastStaleness::default()
        .search(&Times::new(pipeline, 1, 3))
        .unwrap();
    (found.schedule.policy(0).staleness, found.is_enough)
}

#[test]
fn one_per_hop_is_enough_when_transfers_are_free_and_nothing_jitters() {
    for stages in 1..=6 {
        assert_eq!(least(&equal(stages)), (stages - 1, true), "{stages} stages");
    }
}

/// A round trip over a link that takes as long as a batch takes one more batch in flight.
#[test]
fn transfers_ask_for_more() {
    let with_latency = |seconds: f64| {
        let mut pipeline = equal(2);
        pipeline.hops = vec![HopTimes {
            latency: Distribution::Constant(seconds),
            ..HopTimes::NONE
        }];
        least(&pipeline).0
    };
    let found: Vec<usize> = [0.0, 0.020, 0.040, 0.080, 0.160].map(with_latency).to_vec();
    assert!(found.is_sorted(), "{found:?}");
    assert_eq!(found[0], 1);
    assert!(found[4] >= 9, "{found:?}");
}

/// A gradient that does not wait for those of weights is back sooner: never more is in flight, and less where the time of a message
/// takes it over a step.
#[test]
fn a_split_backward_pass_asks_for_no_more_and_sometimes_less() {
    let least = |split: bool, latency: f64| {
        let mut pipeline = equal(4);
        pipeline.set_latency(&Distribution::Constant(latency));
        let search = LeastStaleness {
            split,
            batches: 2000,
            ..LeastStaleness::default()
        };
        let found = search.search(&Times::new(&pipeline, 1, 3)).unwrap();
        assert!(found.is_enough);
        assert_eq!(found.schedule.is_split(), split);
        found.schedule.policy(0).staleness
    };
    let latencies = [0.0, 0.003, 0.006, 0.009, 0.012, 0.020, 0.030, 0.040];
    let found = latencies.map(|latency| (least(false, latency), least(true, latency)));
    assert!(
        found.iter().all(|(whole, split)| split <= whole),
        "{found:?}"
    );
    assert!(
        found.iter().any(|(whole, split)| split < whole),
        "{found:?}"
    );
}

#[test]
fn jitter_asks_for_more() {
    let with_jitter = |variation: f64| {
        let mut pipeline = equal(4);
        for stage in &mut pipeline.places {
            stage.backward = Distribution::LogNormal {
                mean: stage.backward.mean(),
                variation,
            };
        }
        least(&pipeline)
    };
    let (calm, rough) = (with_jitter(0.05), with_jitter(0.5));
    assert!(calm.1 && rough.1);
    assert!(calm.0 < rough.0, "{calm:?} {rough:?}");
}

#[test]
fn no_staleness_makes_a_link_faster_than_it_is() {
    let mut pipeline = equal(2);
    pipeline.hops = vec![HopTimes {
        activation: Distribution::Constant(0.080),
        ..HopTimes::NONE
    }];
    assert!(!least(&pipeline).1);
}

/// Many hops get less in groups: one slow link among them does not make all of them stale.
#[test]
fn one_slow_link_among_many_costs_its_group_only() {
    let mut pipeline = equal(66);
    pipeline.hops[64].latency = Distribution::Constant(0.100);
    let search = LeastStaleness {
        batches: 300,
        ..LeastStaleness::default()
    };
    let found = search.search(&Times::new(&pipeline, 1, 3)).unwrap();
    assert!(found.is_enough);
    let staleness: Vec<usize> = (0..66)
        .map(|stage| found.schedule.policy(stage).staleness)
        .collect();
    let gap = staleness[64] - staleness[65];
    assert!(gap >= 5, "{staleness:?}");
    // Its group has two or three hops.
    assert!(staleness[0] <= 62 + 3 * gap, "{staleness:?}");
}

/// Replicas that wait for each other are no reason to have enough: the rate is what counts.
#[test]
fn waiting_for_a_replica_is_no_work() {
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let replicas = Replicas::new(&[4], 2).unwrap();
    let mut pipeline = Pipeline::equal(&schedule, 0.040).shared_out(&replicas, None);
    pipeline.set_transfers(&Distribution::Exponential { mean: 0.080 }, None);
    let times = Times::new(&pipeline, 1, 3);
    let found = LeastStaleness::default().search(&times).unwrap();
    let rate = |m: usize| {
        let schedule = Schedule::parse(&format!("dsp(m={m},0)"), None).unwrap();
        let simulation = Simulation {
            schedule: &schedule,
            times: &times,
            batches: 2200 + m,
            warmup: 200,
        };
        simulation.run(|_| {}).unwrap().lasting_batches_per_second()
    };
    assert!(found.is_enough);
    let least = found.schedule.policy(0).staleness;
    assert!(least > 1, "{least}");
    assert!(rate(least) >= 0.98 * rate(256), "{least}");
}

/// In the long run the rate is what was asked for, with stragglers and over long pipelines, too: being ahead at the start is not enough.
#[test]
fn what_is_found_lasts() {
    let slow = |place: Place, batch: usize| {
        // Bits that look random: multiples of one number would be spread too evenly.
        let chance = Distribution::Uniform {
            low: 0.0,
            high: 3.0,
        };
        f64::from(u8::from(
            chance.draw((place.stage << 32 | batch) as u64) < 1.0,
        ))
    };
    let times = Times::new(&equal(8), 1, 3).slowed_by(Arc::new(slow));
    let found = LeastStaleness::default().search(&times).unwrap();
    assert!(found.is_enough);
    let simulation = Simulation {
        schedule: &found.schedule,
        times: &times,
        batches: 60_000,
        warmup: 4_000,
    };
    let simulated = simulation.run(|_| {}).unwrap();
    let share = simulated.lasting_busiest_share();
    assert!(share > 0.985, "{share} with {}", found.schedule);
    assert!((simulated.busiest_share() / share - 1.0).abs() < 0.03);
}
