//! Replicas of stages: they train what one copy trains, give the same bits over every transport, resume to the bit, and end
//! together.

use std::sync::Arc;
use std::thread;

use stagger_conformance::ladder::Delays;
use stagger_engine::{EngineError, HostTensor, Optimizer};
use stagger_runtime::{
    Fault, FeedError, Feeds, Inputs, Interrupt, Labels, OnNonFinite, Outcome, Place, Plan,
    Replicas, RunError, ranks, threads,
};
use stagger_schedule::Schedule;
use stagger_transport::wire::Format;
use stagger_transport::{Bytes, Placement, Ranks, Threads, Transport, world};

use crate::ranks::Record;
use crate::support::{SPOILT, ToyCargo, ToyStage, plan, watch_for_hangs};

/// Columns of the toy network.
const WIDTH: usize = 3;

/// Batches of 12 to 14 samples: enough for four micro-batches of three replicas, and seldom shared out evenly.
pub struct Rows {
    happens_at: usize,
    happening: Happening,
}

#[derive(Clone)]
pub enum Happening {
    Nothing,
    Interrupt(Interrupt),
    Panic,
    NotFinite,
    /// As [`Happening::NotFinite`], but only in the loss.
    Spoilt,
}

fn rows_of(batch: usize) -> usize {
    12 + batch % 3
}

impl Inputs for Rows {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let rows = rows_of(batch);
        let value = |i: usize| ((batch * 7 + i * 5) % 11) as f32 / 11.0 - 0.5;
        let mut data: Vec<f32> = (0..rows * WIDTH).map(value).collect();
        match &self.happening {
            _ if batch != self.happens_at => {}
            Happening::Nothing | Happening::Spoilt => {}
            Happening::Interrupt(interrupt) => {
                interrupt.request();
            }
            Happening::Panic => panic!("the loader caught fire"),
            // In the last sample, so in the share of the last replica.
            Happening::NotFinite => data[rows * WIDTH - 1] = f32::NAN,
        }
        Ok(HostTensor::new(vec![rows, WIDTH], data)?)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        (batch < 2).then(|| train(batch + 1_000)).transpose()
    }
}

impl Labels for Rows {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        let rows = rows_of(batch);
        let mut labels: Vec<usize> = (0..rows).map(|row| (batch + row) % 2).collect();
        if let Happening::Spoilt = self.happening
            && batch == self.happens_at
        {
            labels[rows - 1] = SPOILT;
        }
        Ok(labels)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::train(self, batch + 1_000)
    }
}

fn train(batch: usize) -> Result<HostTensor, FeedError> {
    let mut quiet = Rows {
        happens_at: 0,
        happening: Happening::Nothing,
    };
    Inputs::train(&mut quiet, batch)
}

pub fn feeds_with(happens_at: usize, happening: Happening) -> Feeds {
    watch_for_hangs();
    let end = |happening| {
        Box::new(Rows {
            happens_at,
            happening,
        })
    };
    let of_labels = match happening {
        Happening::Spoilt => Happening::Spoilt,
        _ => Happening::Nothing,
    };
    Feeds {
        inputs: end(happening),
        labels: end(of_labels),
    }
}

pub fn feeds() -> Feeds {
    feeds_with(0, Happening::Nothing)
}

pub fn replicated(plan: Plan, counts: &[usize]) -> Plan {
    Plan {
        replicas: Replicas::new(counts, plan.schedule.stages()).unwrap(),
        ..plan
    }
}

/// Every method that has replicas.
pub fn methods(stages: usize) -> Vec<String> {
    let all = Schedule::examples(Some(stages)).into_iter();
    all.filter(|method| !method.starts_with("dni")).collect()
}

/// Numbers of replicas for so many stages: all equal, and one stage with more than the others.
pub fn counts(stages: usize) -> Vec<Vec<usize>> {
    let mut first = vec![1; stages];
    first[0] = 3;
    let mut last = vec![1; stages];
    last[stages - 1] = 2;
    let mut counts = vec![vec![2; stages], first, last];
    counts.dedup();
    counts
}

/// What makes the stages of a run.
pub type Build = fn(Place, Optimizer) -> Result<ToyStage, EngineError>;

fn run(
    transport: &impl Transport<ToyCargo>,
    plan: &Plan,
    feeds: Feeds,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, Record) {
    run_of(ToyStage::build, transport, plan, feeds, interrupt)
}

pub fn run_of(
    build: Build,
    transport: &impl Transport<ToyCargo>,
    plan: &Plan,
    feeds: Feeds,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, Record) {
    let mut record = Record::default();
    let take = |event| record.take(event);
    let ended = threads::run_over(transport, plan, build, feeds, interrupt, take);
    (ended, record.sorted())
}

fn whole(transport: &impl Transport<ToyCargo>, plan: &Plan) -> Record {
    let (ended, record) = run(transport, plan, feeds(), &Interrupt::new());
    assert_eq!(
        ended.expect("the run succeeds").version,
        plan.horizon.batches
    );
    record
}

/// The same over so many ranks.
fn over_ranks(
    ranks: usize,
    plan: &Plan,
    feeds: impl Fn() -> Feeds,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, Record) {
    over_ranks_of(ToyStage::build, ranks, plan, feeds, interrupt)
}

pub fn over_ranks_of(
    build: Build,
    ranks: usize,
    plan: &Plan,
    feeds: impl Fn() -> Feeds,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, Record) {
    let worlds = world::in_process(ranks).into_iter();
    let mut all: Vec<Ranks> = worlds
        .map(|world| Ranks {
            placement: Placement::even(plan.replicas.places(), ranks).unwrap(),
            world,
            stretch: 1,
            format: Format::F32,
        })
        .collect();
    let first = all.remove(0);
    let mut record = Record::default();
    let ended = thread::scope(|scope| {
        for rank in all {
            let feeds = feeds();
            scope.spawn(move || ranks::follow(&rank, plan, build, feeds));
        }
        let take = |event| record.take(event);
        ranks::lead(&first, plan, build, feeds(), interrupt, take)
    });
    (ended, record.sorted())
}

/// Losses and final weights, as numbers.
pub fn numbers(record: &Record) -> Vec<f32> {
    let losses = record.losses.iter();
    let losses = losses.map(|(_, loss)| loss.map_or(f32::NAN, f32::from_bits));
    let (last, _) = record.snapshots.last().expect("a snapshot").0;
    let states = record.at(last).stages.into_iter();
    let weights = states.flat_map(|stage| stage.state.tensors["weights"].data.clone());
    losses.chain(weights).collect()
}

#[test]
fn replicas_train_what_one_copy_trains() {
    for stages in 1..=3 {
        for method in methods(stages) {
            let alone = plan(&method, stages, 9, &[0, 9]);
            let expected = whole(&Threads, &alone);
            for counts in counts(stages) {
                let found = whole(&Threads, &replicated(alone.clone(), &counts));
                assert_eq!(found.staleness, expected.staleness, "{method} {counts:?}");
                assert_eq!(found.evaluations.len(), 2);
                let (found, expected) = (numbers(&found), numbers(&expected));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{method} {counts:?}: {found}, and {expected} alone"
                    );
                }
            }
        }
    }
}

#[test]
fn every_transport_gives_the_same_bits() {
    for stages in 1..=4 {
        for method in methods(stages) {
            for counts in counts(stages) {
                let plan = replicated(plan(&method, stages, 7, &[0, 4, 7]), &counts);
                let expected = whole(&Threads, &plan);
                assert_eq!(
                    whole(&Bytes::default(), &plan),
                    expected,
                    "{method} {counts:?}"
                );
                let places = plan.replicas.places();
                for ranks in [2, places - 1, places] {
                    if ranks == 0 || ranks > places {
                        continue;
                    }
                    let (ended, found) = over_ranks(ranks, &plan, feeds, &Interrupt::new());
                    ended.expect("the run succeeds");
                    assert_eq!(found, expected, "{method} {counts:?} on {ranks} ranks");
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_delays() {
    for method in methods(3) {
        let plan = replicated(plan(&method, 3, 6, &[3]), &[2]);
        let expected = whole(&Threads, &plan);
        for seed in 0..3 {
            let delays = Delays::over(Threads, seed);
            assert_eq!(whole(&delays, &plan), expected, "{method}");
        }
    }
}

#[test]
fn a_run_resumes_from_every_version() {
    for method in methods(3) {
        for counts in counts(3) {
            let mut plan = replicated(plan(&method, 3, 8, &[4, 8]), &counts);
            plan.horizon.snapshot_at = (0..=8).collect();
            let whole_run = whole(&Threads, &plan);
            for version in 0..8 {
                let resumed = Plan {
                    resume: Some(Arc::new(whole_run.at(version))),
                    ..plan.clone()
                };
                let rest = whole(&Threads, &resumed);
                assert_eq!(
                    rest.losses,
                    whole_run.losses[version..],
                    "{method} {counts:?}"
                );
                for later in version + 1..=8 {
                    assert_eq!(
                        rest.at(later),
                        whole_run.at(later),
                        "{method} {counts:?}: version {later} from {version}"
                    );
                }
            }
        }
    }
}

#[test]
fn all_replicas_halt_at_one_version() {
    for method in methods(3) {
        for counts in counts(3) {
            let plan = replicated(plan(&method, 3, 5_000, &[]), &counts);
            for ranks in [1, 3] {
                let interrupt = Interrupt::new();
                let happening = Happening::Interrupt(interrupt.clone());
                let until = || feeds_with(6, happening.clone());
                let (ended, found) = match ranks {
                    1 => run(&Threads, &plan, until(), &interrupt),
                    _ => over_ranks(ranks, &plan, until, &interrupt),
                };
                let outcome = ended.expect("it halts");
                assert!(outcome.interrupted, "{method} {counts:?}");
                assert!(outcome.version > 6 && outcome.version < 5_000);
                let planned = Plan {
                    horizon: stagger_schedule::Horizon {
                        snapshot_at: vec![outcome.version],
                        ..plan.horizon.clone()
                    },
                    ..plan.clone()
                };
                // The same as in a run that takes a snapshot there and goes on; here, one batch.
                let batches = outcome.version + 20;
                let mut longer = planned.clone();
                longer.horizon.batches = batches;
                let expected = whole(&Threads, &longer).at(outcome.version);
                assert_eq!(found.at(outcome.version), expected, "{method} {counts:?}");
            }
        }
    }
}

#[test]
fn a_batch_that_is_not_finite_on_one_replica_is_skipped_on_all() {
    let plan = Plan {
        on_non_finite: OnNonFinite::Skip,
        ..plan("dsp", 3, 12, &[12])
    };
    for counts in counts(3) {
        let plan = replicated(plan.clone(), &counts);
        let happening = || feeds_with(4, Happening::NotFinite);
        let (ended, found) = run(&Threads, &plan, happening(), &Interrupt::new());
        ended.expect("the run succeeds");
        assert_eq!(found.losses[4], (4, None), "{counts:?}");
        assert!(numbers(&found)[5..].iter().all(|number| number.is_finite()));
        let (ended, again) = over_ranks(3, &plan, happening, &Interrupt::new());
        ended.expect("the run succeeds");
        assert_eq!(again, found);
    }
}

#[test]
fn a_replica_that_fails_ends_all() {
    let plan = replicated(plan("dsp", 2, 1_000, &[]), &[2]);
    for (happening, what) in [
        (Happening::Panic, "the loader caught fire"),
        (Happening::NotFinite, "the loss is NaN"),
    ] {
        let happens = || feeds_with(7, happening.clone());
        let (alone, _) = run(&Threads, &plan, happens(), &Interrupt::new());
        let (shared, _) = over_ranks(4, &plan, happens, &Interrupt::new());
        for ended in [alone, shared] {
            let error = ended.expect_err("it fails").to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

#[test]
fn a_snapshot_of_other_replicas_is_refused() {
    let two = replicated(plan("dsp", 2, 4, &[]), &[2]);
    let found = whole(&Threads, &two).at(4);
    let resumed = Plan {
        resume: Some(Arc::new(found)),
        ..plan("dsp", 2, 8, &[])
    };
    let (ended, _) = run(&Threads, &resumed, feeds(), &Interrupt::new());
    let Err(RunError::Build {
        cause: Fault::Resume(error),
        ..
    }) = ended
    else {
        panic!("{ended:?}");
    };
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("the snapshot has 2 replicas of stage "),
        "{sentence}"
    );
}
