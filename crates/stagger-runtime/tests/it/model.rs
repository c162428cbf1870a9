//! The pipeline itself under the model checker, on three stages and with every method: under every interleaving it gives the
//! numbers of the sequential executor, it ends, and a failure or an interrupt at any moment releases all threads.
//!
//! The checker switches threads at every lock, wait and wake-up of hops, stop and events. It draws interleavings at random (from
//! fixed seeds) and reports a deadlock as a panic, with the interleaving that led there. A run that returns has joined all its
//! threads. `STAGGER_MODEL_ITERATIONS` multiplies how many it tries.

mod failures;
mod planted;
mod ranks;
mod record;
use std::env;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{ToyFeed, ToyStage, feeds, plan};
use record::Record;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use stagger_engine::{EngineError, HostTensor, Optimizer};
use stagger_runtime::{
    FeedError, Feeds, Inputs, Interrupt, Outcome, Place, Plan, RunError, sequential, threads,
};
use stagger_schedule::{Horizon, Schedule};
use stagger_transport::{
    Capacities, ConnectError, Ends, Hop, Link, StopSignal, Threads, Transport,
};

const STAGES: usize = 3;

/// Batches of a run: as far as the methods run ahead, and a few more.
const BATCHES: usize = 6;

/// Interleavings per method that the check of whole runs tries, half of them uniformly random, half with few switches at chosen
/// places. Other checks try fewer.
const ITERATIONS: usize = 1_600;

fn check(iterations: usize, body: impl Fn() + Send + Sync + Clone + 'static) {
    let more = env::var("STAGGER_MODEL_ITERATIONS").ok();
    let more = more.and_then(|text| text.parse::<usize>().ok());
    let iterations = iterations / 2 * more.unwrap_or(1);
    let mut config = Config::new();
    // A stage formats and sorts; the default is for bare synchronisation.
    config.stack_size = 1 << 19;
    let random = RandomScheduler::new_from_seed(1, iterations);
    Runner::new(random, config.clone()).run(body.clone());
    let few_switches = PctScheduler::new_from_seed(2, 3, iterations);
    Runner::new(few_switches, config).run(body);
}

/// All registered methods, and combinations that change how many passes a batch has or which weights they run at.
fn methods() -> Vec<String> {
    let mut methods = Schedule::examples(Some(STAGES));
    let more = [
        "dsp(0,1,0;3,2,0)",
        "dsp(m=4,2,0)",
        "dsp+accumulate(2)",
        "fr+predict",
        "dsp+gap-aware",
    ];
    methods.extend(more.map(str::to_owned));
    methods
}

/// A few batches, with an evaluation and a snapshot on the way.
fn short(method: &str) -> Plan {
    let mut plan = plan(method, STAGES, BATCHES, &[2]);
    plan.horizon = Horizon {
        snapshot_at: vec![2, BATCHES],
        ..plan.horizon
    };
    plan
}

fn build(place: Place, optimizer: Optimizer) -> Result<ToyStage, EngineError> {
    ToyStage::build(place, optimizer)
}

/// Links between threads, each end of which goes through a function: those of hop 0, then those of hop 1, lower ends first.
struct Wrapped<W>(W);

impl<T: Send + 'static, W> Transport<T> for Wrapped<W>
where
    W: Fn(Box<dyn Link<T>>) -> Box<dyn Link<T>>,
{
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let Ends { lower, upper } = Threads.connect(hop, capacities, stop)?;
        Ok(Ends {
            lower: lower.map(&self.0),
            upper: upper.map(&self.0),
        })
    }
}

fn in_order(plan: &Plan, feeds: Feeds) -> Record {
    let mut record = Record::default();
    let result = sequential::run(plan, build, feeds, |event| {
        record.take(event);
        Ok(())
    });
    result.expect("a run");
    record
}

fn on_threads(
    plan: &Plan,
    feeds: Feeds,
    interrupt: &Interrupt,
) -> (Record, Result<Outcome, RunError>) {
    let mut record = Record::default();
    let result = threads::run(plan, build, feeds, interrupt, |event| {
        record.take(event);
        Ok(())
    });
    (record, result)
}

#[test]
fn every_method_gives_the_numbers_of_the_sequential_executor() {
    for method in methods() {
        check(ITERATIONS, move || {
            let plan = short(&method);
            let expected = in_order(&plan, feeds());
            let (found, result) = on_threads(&plan, feeds(), &Interrupt::new());
            assert_eq!(result.expect("a run").version, BATCHES);
            assert_eq!(found, expected, "{method}");
        });
    }
}

/// Stages that clip by the norm of all of them wait for each other in every update.
#[test]
fn clipping_over_all_stages_gives_the_same_numbers() {
    for method in ["bp", "gpipe(2)", "1f1b(2)", "zb(2)"] {
        let clipped = move || Plan {
            clip_norm: Some(0.01),
            ..short(method)
        };
        let first = Arc::new(OnceLock::new());
        check(ITERATIONS / 2, move || {
            let (found, result) = on_threads(&clipped(), feeds(), &Interrupt::new());
            assert_eq!(result.expect("a run").version, BATCHES);
            assert_ne!(found.losses, in_order(&short(method), feeds()).losses);
            assert_eq!(first.get_or_init(|| found.clone()), &found, "{method}");
        });
    }
}

/// Inputs that ask for an interrupt at a batch.
struct InterruptAt(usize, Interrupt);

impl Inputs for InterruptAt {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        if batch == self.0 {
            self.1.request();
        }
        Inputs::train(&mut ToyFeed, batch)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

/// The run halts at a version that all stages agree on, and resumes from there as if it had never stopped.
#[test]
fn an_interrupt_at_any_moment_loses_nothing() {
    for method in methods() {
        check(ITERATIONS / 4, move || {
            let plan = short(&method);
            let interrupt = Interrupt::new();
            let batch = thread_rng().gen_range(0..BATCHES);
            let feeds_until = Feeds {
                inputs: Box::new(InterruptAt(batch, interrupt.clone())),
                ..feeds()
            };
            let (mut found, result) = on_threads(&plan, feeds_until, &interrupt);
            let outcome = result.expect("an interrupt is no failure");
            let version = outcome.version;
            // Stage 0 looks before every forward, and the next version is ahead of all stages.
            assert_eq!(version, batch + 1, "{method}");
            assert_eq!(found.losses.len(), version, "{method}");
            assert_eq!(outcome.interrupted, version < BATCHES, "{method}");
            let expected = in_order(&plan, feeds());
            if outcome.interrupted {
                // The halted run has evaluated its last version, if that was due.
                let mut horizon = plan.horizon.clone();
                horizon.evaluate_at.retain(|at| *at != version);
                let resumed = Plan {
                    resume: Some(Arc::new(found.snapshot(version))),
                    horizon,
                    ..plan
                };
                let (rest, result) = on_threads(&resumed, feeds(), &Interrupt::new());
                assert_eq!(result.expect("a run").version, BATCHES);
                // Taken beside those of the unbroken run.
                if version != 2 {
                    found.snapshots.retain(|(at, _), _| *at != version);
                }
                found.extend(rest);
            }
            assert_eq!(found, expected, "{method}, interrupted at {version}");
        });
    }
}

/// There is one at every version: with an interval of 0 a snapshot is always due.
#[test]
fn snapshots_by_the_clock_are_those_of_their_version() {
    for method in methods() {
        check(ITERATIONS / 4, move || {
            let mut listed = short(&method);
            listed.horizon.snapshot_at = (1..BATCHES).collect();
            let mut by_the_clock = short(&method);
            by_the_clock.horizon.snapshot_at.clear();
            by_the_clock.snapshot_interval = Some(Duration::ZERO);
            let (found, result) = on_threads(&by_the_clock, feeds(), &Interrupt::new());
            assert!(!result.expect("a run").interrupted);
            assert_eq!(found, in_order(&listed, feeds()), "{method}");
        });
    }
}
