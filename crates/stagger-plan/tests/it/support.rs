//! Random schedules and pipelines.

use proptest::prelude::*;
use stagger_plan::{Distribution, HopTimes, Pipeline, RingTimes, StageTimes};
use stagger_schedule::{Replicas, Schedule};

/// Any method on 1 to 6 stages, with its queues as they are; every second one is DSP with any staleness and any queues.
pub fn schedules() -> impl Strategy<Value = Schedule> {
    let example = (1_usize..=6, any::<prop::sample::Index>()).prop_map(|(stages, which)| {
        let examples = Schedule::examples(Some(stages));
        let text: &String = which.get(&examples);
        Schedule::parse(text, Some(stages)).unwrap()
    });
    let hops = prop::collection::vec((0_usize..=4, any::<prop::sample::Index>()), 0..=5);
    let dsp = (hops, 1_usize..=3).prop_map(|(hops, accumulated)| {
        // From the last hop down, as a stage is as stale as all hops above it have batches in flight.
        let (mut queues, mut staleness, mut sum) = (vec![0], vec![0], 0);
        for (in_flight, queue) in hops {
            sum += in_flight;
            staleness.push(sum);
            queues.push(queue.index(in_flight + 1));
        }
        let list = |values: Vec<usize>| {
            let texts: Vec<String> = values.iter().rev().map(ToString::to_string).collect();
            texts.join(",")
        };
        let notation = format!("dsp({};{})", list(queues), list(staleness));
        let notation = match accumulated {
            1 => notation,
            _ => format!("{notation} + accumulate({accumulated})"),
        };
        Schedule::parse(&notation, None).unwrap()
    });
    prop_oneof![example, dsp]
}

/// Constant durations of whole microseconds for so many stages; every second pipeline has links that take time.
pub fn pipelines(stages: usize) -> impl Strategy<Value = Pipeline> {
    let hops = prop_oneof![
        Just(vec![HopTimes::NONE; stages - 1]),
        prop::collection::vec(hop_times(), stages - 1)
    ];
    (prop::collection::vec(stage_times(), stages), hops)
        .prop_map(|(stages, hops)| Pipeline::without_replicas(stages, hops))
}

fn stage_times() -> impl Strategy<Value = StageTimes> {
    (prop::array::uniform5(0_u16..200), 0_u8..=4).prop_map(|(times, share)| {
        let [forward, recompute, backward, update, learn] = times.map(microseconds);
        StageTimes {
            // Something has to take time.
            forward: microseconds(1 + (forward.mean() * 1e6) as u16),
            recompute,
            backward,
            weights_share: Some(f64::from(share) / 4.0),
            update,
            learn,
        }
    })
}

fn hop_times() -> impl Strategy<Value = HopTimes> {
    prop::array::uniform3(0_u16..150).prop_map(|times| {
        let [activation, gradient, latency] = times.map(microseconds);
        HopTimes {
            activation,
            gradient,
            latency,
        }
    })
}

pub fn microseconds(number: u16) -> Distribution {
    Distribution::Constant(f64::from(number) * 1e-6)
}

/// A schedule and a pipeline of as many stages.
pub fn runs() -> impl Strategy<Value = (Schedule, Pipeline)> {
    schedules().prop_flat_map(|schedule| {
        let pipeline = pipelines(schedule.stages());
        (Just(schedule), pipeline)
    })
}

/// One to three replicas of each of so many stages, whose neighbours suit each other.
fn replicas(stages: usize) -> impl Strategy<Value = Replicas> {
    let most = 1_usize..=3;
    (most, prop::collection::vec(any::<bool>(), stages)).prop_map(move |(most, has_most)| {
        let counts = has_most.into_iter().map(|has| if has { most } else { 1 });
        Replicas::new(&counts.collect::<Vec<_>>(), stages).unwrap()
    })
}

/// Likewise with replicas, each place and each link with times of its own; every second pipeline has sums that take time.
pub fn replicated_runs() -> impl Strategy<Value = (Schedule, Pipeline)> {
    let runs = schedules()
        .prop_filter("synthesizers have no replicas", |schedule| {
            !schedule.synthesizes()
        })
        .prop_flat_map(|schedule| {
            let stages = schedule.stages();
            (Just(schedule), replicas(stages))
        });
    runs.prop_flat_map(|(schedule, replicas)| {
        let stages = schedule.stages();
        let links = (1..stages).map(|above| replicas.pairs(above - 1).count());
        let links: usize = links.sum();
        let ring =
            (0_u16..60, 0_u16..60, any::<bool>()).prop_map(|(occupies, latency, takes_time)| {
                match takes_time {
                    false => RingTimes::NONE,
                    true => RingTimes {
                        occupies: microseconds(occupies),
                        latency: microseconds(latency),
                    },
                }
            });
        let pipeline = (
            prop::collection::vec(stage_times(), replicas.places()),
            prop::collection::vec(hop_times(), links),
            prop::collection::vec(ring, stages),
        );
        let pipeline = pipeline.prop_map(move |(places, hops, rings)| Pipeline {
            replicas: replicas.clone(),
            places,
            hops,
            rings,
        });
        (Just(schedule), pipeline)
    })
}
