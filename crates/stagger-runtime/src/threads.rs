//! The pipeline itself: one OS thread per stage, bounded links between them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use stagger_engine::{EngineError, Stage};
use stagger_schedule::Program;
use stagger_transport::threads::{Capacities, pair};
use stagger_transport::{Link, StopSignal, StopSource, stop_channel};

use crate::event::Event;
use crate::fault::{EventError, Fault, RunError};
use crate::feed::Feeds;
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use crate::worker::{Feed, Flow, Ports, Seat, Worker, deal_feeds};

/// Runs the plan to its end, to an interrupt, or to the first failure.
///
/// `build(k)` makes stage k, on the thread that will run it. `on_event` is called on the calling
/// thread, in the order in which events arrive.
///
/// # Errors
/// The first failure of any stage or of `on_event`; all other stages have been released by then
/// and their threads have ended.
pub fn run<S, B>(
    plan: &Plan,
    build: B,
    feeds: Feeds,
    interrupt: &Interrupt,
    on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError>
where
    S: Stage,
    B: Fn(usize) -> Result<S, EngineError> + Sync,
{
    run_with_links(plan, build, feeds, interrupt, on_event, |link| link)
}

/// As [`run`], with every link passed through `wrap` first: a place for delays and for watching.
///
/// # Errors
/// As [`run`].
pub fn run_with_links<S, B, W>(
    plan: &Plan,
    build: B,
    feeds: Feeds,
    interrupt: &Interrupt,
    mut on_event: impl FnMut(Event) -> Result<(), EventError>,
    wrap: W,
) -> Result<Outcome, RunError>
where
    S: Stage,
    B: Fn(usize) -> Result<S, EngineError> + Sync,
    W: Fn(Box<dyn Link<S::Activation>>) -> Box<dyn Link<S::Activation>>,
{
    let stages = plan.schedule.stages();
    let (stop_source, stop) = stop_channel();
    let ports = connect(plan, &stop, wrap);
    let feeds = deal_feeds(feeds, stages);
    let (events_in, events_out) = unbounded();
    let (ready_in, ready_out) = bounded(stages);
    // Capacity for every stage: the main thread never waits for a stage that has failed.
    let (start_in, start_out) = bounded(stages);
    let failure = Failure {
        first: Mutex::new(None),
        stop: &stop_source,
    };

    let ended = thread::scope(|scope| {
        // Should `on_event` panic, the scope joins the stages before it passes the panic on.
        let _release = RaiseOnDrop(&stop_source);
        let mut threads = Vec::with_capacity(stages);
        for (index, (ports, feed)) in ports.into_iter().zip(feeds).enumerate() {
            let runner = Runner {
                plan,
                index,
                interrupt: interrupt.clone(),
                stop: stop.clone(),
                events: events_in.clone(),
                ready: ready_in.clone(),
                start: start_out.clone(),
                failure: &failure,
            };
            let build = &build;
            let spawned = thread::Builder::new()
                .name(format!("stage-{index}"))
                .spawn_scoped(scope, move || runner.run(build, ports, feed));
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(cause) => failure.report(RunError::Spawn {
                    stage: index,
                    cause,
                }),
            }
        }
        drop((events_in, ready_in, start_out));

        let clock = start(stages, &ready_out, &start_in);
        drop(start_in);
        if clock.is_some()
            && let Err(error) = on_event(Event::Started { stages })
        {
            failure.report(RunError::Event(error));
        }
        for event in events_out {
            if failure.is_reported() {
                continue;
            }
            if let Err(error) = on_event(event) {
                failure.report(RunError::Event(error));
            }
        }
        let ends = threads
            .into_iter()
            .filter_map(|thread| thread.join().ok().flatten());
        let end = ends.max_by_key(|end| end.version);
        clock.zip(end).map(|(clock, end)| (clock.elapsed(), end))
    });

    if let Some(error) = failure
        .first
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return Err(error);
    }
    let (wall, end) = ended.ok_or(RunError::Deadlock {
        what: "no stage reported its end".into(),
    })?;
    Ok(Outcome {
        version: end.version,
        interrupted: end.interrupted,
        wall,
    })
}

/// Raises the stop on the way out.
struct RaiseOnDrop<'a>(&'a StopSource);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Waits until all stages are built, then starts the common clock. `None` when one could not be
/// built: its thread has dropped its end of `ready` by then, after reporting why.
fn start(stages: usize, ready: &Receiver<()>, start: &Sender<Instant>) -> Option<Instant> {
    for _ in 0..stages {
        ready.recv().ok()?;
    }
    let clock = Instant::now();
    for _ in 0..stages {
        start.send(clock).ok()?;
    }
    Some(clock)
}

/// Links every two neighbours with the queues that the schedule asks for.
fn connect<T: Send + 'static>(
    plan: &Plan,
    stop: &StopSignal,
    wrap: impl Fn(Box<dyn Link<T>>) -> Box<dyn Link<T>>,
) -> Vec<Ports<T>> {
    let stages = plan.schedule.stages();
    let mut ports: Vec<_> = (0..stages)
        .map(|_| Ports {
            below: None,
            above: None,
        })
        .collect();
    for hop in 0..stages - 1 {
        let policy = plan.schedule.policy(hop);
        let capacities = Capacities {
            activation: policy.forward_queue,
            gradient: policy.backward_queue,
        };
        let (lower, upper) = pair(capacities, stop);
        ports[hop].above = Some(wrap(Box::new(lower)));
        ports[hop + 1].below = Some(wrap(Box::new(upper)));
    }
    ports
}

/// Keeps the first failure and stops the run with it.
struct Failure<'a> {
    first: Mutex<Option<RunError>>,
    stop: &'a StopSource,
}

impl Failure<'_> {
    fn report(&self, error: RunError) {
        if !error.is_echo() {
            self.first
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
        self.stop.raise();
    }

    fn is_reported(&self) -> bool {
        self.first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

/// Where a stage's program ended.
struct End {
    version: usize,
    interrupted: bool,
}

/// What the thread of one stage is given.
struct Runner<'a> {
    plan: &'a Plan,
    index: usize,
    interrupt: Interrupt,
    stop: StopSignal,
    events: Sender<Event>,
    ready: Sender<()>,
    start: Receiver<Instant>,
    failure: &'a Failure<'a>,
}

impl Runner<'_> {
    /// Builds the stage and executes its program. `None` when it failed.
    ///
    /// A failure is reported before anything is dropped: a neighbour that found its link closed
    /// first would report that instead of the cause.
    fn run<S: Stage>(
        self,
        build: impl Fn(usize) -> Result<S, EngineError>,
        ports: Ports<S::Activation>,
        feed: Feed,
    ) -> Option<End> {
        let (stage, failure) = (self.index, self.failure);
        let seat = Seat {
            index: stage,
            ports,
            feed,
            interrupt: self.interrupt,
            stop: self.stop,
            events: self.events,
        };
        let built = guard(|| Ok(Worker::new(self.plan, build(stage)?, seat)?));
        let mut worker = match built {
            Ok(worker) => worker,
            Err(cause) => {
                failure.report(RunError::Build { stage, cause });
                return None;
            }
        };
        // Nobody listens or starts any more only when another stage could not be built.
        self.ready.send(()).ok()?;
        drop(self.ready);
        worker.start_clock(self.start.recv().ok()?);
        let program = self.plan.schedule.program(stage, &self.plan.horizon);
        train(&mut worker, stage, program)
            .map_err(|error| failure.report(error))
            .ok()
    }
}

/// Executes a program to its end.
fn train<S: Stage>(
    worker: &mut Worker<S>,
    stage: usize,
    mut program: Box<dyn Program>,
) -> Result<End, RunError> {
    let mut interrupted = false;
    while let Some(action) = program.next() {
        let flow = guard(|| worker.execute(action)).map_err(|cause| RunError::Stage {
            stage,
            action,
            version: worker.version(),
            cause,
        })?;
        if let Flow::EndBefore(batch) = flow {
            program.end_at(batch);
            interrupted = true;
        }
    }
    worker.report_profile();
    Ok(End {
        version: worker.version(),
        interrupted,
    })
}

/// Turns a panic into a [`Fault`], so that the other stages are released and told why.
fn guard<R>(work: impl FnOnce() -> Result<R, Fault>) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Fault::Panic {
            message: panic_message(panic.as_ref()).to_owned(),
        })
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
