//! Random schedules and pipelines.

use proptest::prelude::*;
use stagger_plan::{Distribution, HopTimes, Pipeline, StageTimes};
use stagger_schedule::Schedule;

/// Any method on 1 to 6 stages, with its queues as they are; every second one is DSP with any staleness and any queues.
pub fn schedules() -> impl Strategy<Value = Schedule> {
    let example = (1_usize..=6, any::<prop::sample::Index>()).prop_map(|(stages, which)| {
        let examples = Schedule::examples(Some(stages));
        let text: &String = which.get(&examples);
        Schedule::parse(text, Some(stages)).unwrap()
    });
    let hops = prop::collection::vec((0_usize..=4, any::<prop::sample::Index>()), 0..=5);
    let dsp = (hops, 1_usize..=3).prop_map(|(hops, accumulated)| {
        // Starts at the last hop. A stage's staleness is the sum of what is in flight above it.
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
    let stage = prop::array::uniform5(0_u16..200).prop_map(|times| {
        let [forward, recompute, backward, update, learn] = times.map(microseconds);
        StageTimes {
            // Something has to take time.
            forward: microseconds(1 + (forward.mean() * 1e6) as u16),
            recompute,
            backward,
            update,
            learn,
        }
    });
    let hop = prop::array::uniform3(0_u16..150).prop_map(|times| {
        let [activation, gradient, latency] = times.map(microseconds);
        HopTimes {
            activation,
            gradient,
            latency,
        }
    });
    let hops = prop_oneof![
        Just(vec![HopTimes::NONE; stages - 1]),
        prop::collection::vec(hop, stages - 1)
    ];
    (prop::collection::vec(stage, stages), hops)
        .prop_map(|(stages, hops)| Pipeline { stages, hops })
}

fn microseconds(number: u16) -> Distribution {
    Distribution::Constant(f64::from(number) * 1e-6)
}

/// A schedule and a pipeline of as many stages.
pub fn runs() -> impl Strategy<Value = (Schedule, Pipeline)> {
    schedules().prop_flat_map(|schedule| {
        let pipeline = pipelines(schedule.stages());
        (Just(schedule), pipeline)
    })
}
