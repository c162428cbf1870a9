//! The event log of the real runtime beside the simulated run.

use std::sync::Mutex;

use proptest::prelude::*;
use stagger_emulate::Emulation;
use stagger_engine::{HostTensor, Optimizer};
use stagger_plan::{Distribution, HopTimes, Pipeline, RingTimes, Simulation, StageTimes, Times};
use stagger_runtime::{Event, FeedError, Feeds, Inputs, Interrupt, Labels, Plan, threads};
use stagger_schedule::{Action, Horizon, Replicas, Schedule};

/// Samples in a batch: enough for the micro-batches of all schedules here, and for three replicas of each.
const SAMPLES: usize = 24;

/// What a stage did, and with which staleness.
type Log = Vec<(Action, Option<usize>)>;

struct Samples;

impl Inputs for Samples {
    fn train(&mut self, _: usize) -> Result<HostTensor, FeedError> {
        Ok(HostTensor::new(vec![SAMPLES, 1], vec![0.0; SAMPLES])?)
    }

    fn evaluation(&mut self, _: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

impl Labels for Samples {
    fn train(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(vec![0; SAMPLES])
    }

    fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(Vec::new())
    }
}

/// What the runtime does, stage by stage; of a stage with replicas, what the first one does.
fn emulated(schedule: &Schedule, pipeline: &Pipeline, batches: usize) -> Vec<Log> {
    let micro_batches = schedule.micro_batches();
    let emulated = Emulation::new(pipeline.clone(), micro_batches, 7).under(schedule);
    let optimizer = Optimizer::Sgd {
        weight_decay: Default::default(),
    };
    let plan = Plan {
        replicas: pipeline.replicas.clone(),
        ..Plan::new(schedule.clone(), Horizon::of(batches), optimizer, |_| 0.1)
    };
    let feeds = Feeds {
        inputs: Box::new(Samples),
        labels: Box::new(Samples),
    };
    let log = Mutex::new(vec![Log::new(); schedule.stages()]);
    threads::run_over(
        &emulated.links(),
        &plan,
        |place, _| Ok(emulated.stage(place, false)),
        feeds,
        &Interrupt::new(),
        |event| {
            if let Event::Acted(acted) = event {
                log.lock().unwrap()[acted.stage].push((acted.action, acted.staleness));
            }
            Ok(())
        },
    )
    .unwrap();
    log.into_inner().unwrap()
}

fn simulated(schedule: &Schedule, pipeline: &Pipeline, batches: usize) -> Vec<Log> {
    let times = Times::new(pipeline, schedule.micro_batches(), 7);
    let mut log = vec![Log::new(); schedule.stages()];
    let simulation = Simulation {
        schedule,
        times: &times,
        batches,
        warmup: 0,
    };
    simulation
        .run(|step| {
            if step.replica == 0 {
                log[step.stage].push((step.action, step.staleness));
            }
        })
        .unwrap();
    log
}

/// Methods on 1 to 5 stages with 1 to 3 replicas, and durations of up to 100 µs, some of them random.
fn runs() -> impl Strategy<Value = (Schedule, Pipeline)> {
    let notations = prop_oneof![
        prop::sample::select(vec![
            "bp",
            "dsp",
            "gpipe(4)",
            "1f1b(4)",
            "zb(4)",
            "pipedream",
            "fr",
            "ddg",
            "pipemare(sync=2)",
            "fdg",
            "adl(2)",
            "dni",
            "dsp + accumulate(2)",
            "dsp + split",
            "2bw(8)",
        ])
        .prop_map(str::to_owned),
        prop::collection::vec(0_usize..3, 4).prop_map(|gaps| format!(
            "dsp(m={},{},{},{},0)",
            gaps.iter().sum::<usize>(),
            gaps[1..].iter().sum::<usize>(),
            gaps[2..].iter().sum::<usize>(),
            gaps[3],
        )),
    ];
    let time = || {
        prop_oneof![
            Just(Distribution::ZERO),
            (1_u32..100).prop_map(|us| Distribution::Constant(f64::from(us) * 1e-6)),
            (1_u32..50).prop_map(|us| Distribution::Exponential {
                mean: f64::from(us) * 1e-6
            }),
        ]
    };
    let replicas = (1_usize..=3, prop::collection::vec(any::<bool>(), 5));
    (notations, 1_usize..=5, replicas).prop_flat_map(move |(notation, stages, (most, has_most))| {
        let stages = match notation.contains("m=") {
            true => 5,
            // There has to be a stage below.
            false if notation.ends_with("split") => stages.max(2),
            false => stages,
        };
        let schedule = Schedule::parse(&notation, Some(stages)).unwrap();
        let counts = has_most[..stages].iter();
        let counts: Vec<usize> = match schedule.synthesizes() {
            true => vec![1],
            false => counts.map(|&has| if has { most } else { 1 }).collect(),
        };
        let replicas = Replicas::new(&counts, stages).unwrap();
        let stage =
            (time(), time(), time(), time()).prop_map(|(forward, recompute, backward, update)| {
                StageTimes {
                    forward,
                    recompute,
                    backward,
                    weights_share: Some(0.25),
                    update,
                    learn: Distribution::ZERO,
                }
            });
        let hop = (time(), time(), time()).prop_map(|(activation, gradient, latency)| HopTimes {
            activation,
            gradient,
            latency,
        });
        let ring = (time(), time()).prop_map(|(occupies, latency)| RingTimes { occupies, latency });
        let links = (1..stages).map(|above| replicas.pairs(above - 1).count());
        let links: usize = links.sum();
        let pipeline = (
            prop::collection::vec(stage, replicas.places()),
            prop::collection::vec(hop, links),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// On real threads and real queues every stage does what the simulator says, in that order and with that staleness.
    #[test]
    fn the_runtime_does_what_is_simulated((schedule, pipeline) in runs(), batches in 0_usize..12) {
        prop_assert_eq!(emulated(&schedule, &pipeline, batches), simulated(&schedule, &pipeline, batches));
    }
}
