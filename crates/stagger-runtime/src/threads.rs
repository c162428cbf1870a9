//! The pipeline itself: one OS thread per stage, and links between them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_schedule::Program;
use stagger_transport::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel,
};
use stagger_transport::sync::{Mutex, lock, spawn_named, thread};
use stagger_transport::{Mark, StopSignal, StopSource, Threads, Transport, stop_channel};

use crate::board::Board;
use crate::event::Event;
use crate::fault::{EventError, Fault, RunError};
use crate::feed::{Feeds, StageFeed};
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use crate::ports::{Ports, connect};
use crate::stage_optimizer::stage_optimizer;
use crate::worker::{Worker, WorkerContext};

/// Runs the plan to its end, to an interrupt, or to the first failure.
///
/// `build(k, optimizer)` makes stage k, on the thread that will run it. The optimizer is that of the plan as the schedule
/// changes it for the stage ([`stage_optimizer`]). `on_event` is called on the calling thread, in the order in which events
/// arrive.
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
    B: Fn(usize, Optimizer) -> Result<S, EngineError> + Sync,
{
    run_over(&Threads, plan, build, feeds, interrupt, on_event)
}

/// As [`run`], over the links of another transport.
///
/// # Errors
/// As [`run`]; and when the transport cannot connect two stages.
pub fn run_over<S, B>(
    transport: &impl Transport<S::Activation>,
    plan: &Plan,
    build: B,
    feeds: Feeds,
    interrupt: &Interrupt,
    mut on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError>
where
    S: Stage,
    B: Fn(usize, Optimizer) -> Result<S, EngineError> + Sync,
{
    let stages = plan.schedule.stages();
    let (stop_source, stop) = stop_channel();
    let ports = connect(&plan.schedule, transport, &stop)?;
    let feeds = feeds.split(stages);
    let board = Arc::new(Board::new(stages));
    let (events_in, events_out) = channel();
    let (ready_in, ready_out) = sync_channel(stages);
    let failure = Failure {
        first: Mutex::new(None),
        stop: &stop_source,
    };

    let ended = thread::scope(|scope| {
        // Should `on_event` panic, the scope joins the stages before it passes the panic on.
        let _release = RaiseOnDrop(&stop_source);
        let mut threads = Vec::with_capacity(stages);
        let mut starts = Vec::with_capacity(stages);
        for (index, (ports, feed)) in ports.into_iter().zip(feeds).enumerate() {
            // With room: the main thread never waits for a stage that has failed.
            let (start_in, start_out) = sync_channel(1);
            starts.push(start_in);
            let runner = Runner {
                plan,
                index,
                interrupt: interrupt.clone(),
                stop: stop.clone(),
                events: events_in.clone(),
                board: Arc::clone(&board),
                ready: ready_in.clone(),
                start: start_out,
                failure: &failure,
            };
            let build = &build;
            let work = move || runner.run(build, ports, feed);
            match spawn_named(scope, format!("stage-{index}"), work) {
                Ok(thread) => threads.push(thread),
                Err(cause) => failure.report(RunError::Spawn {
                    stage: index,
                    cause,
                }),
            }
        }
        drop((events_in, ready_in));

        let clock = start(&ready_out, starts);
        // Events from before a stage's failure are still delivered, but not to a receiver that has failed itself.
        let mut listens = true;
        if clock.is_some()
            && let Err(error) = on_event(Event::Started { stages })
        {
            listens = false;
            failure.report(RunError::Event(error));
        }
        let mut watch = Watch::new(plan.stall_timeout);
        while let Some(event) = watch.next(&events_out, &board) {
            if !listens {
                continue;
            }
            let stall = match &event {
                Event::Stalled(stall) => Some(stall.clone()),
                _ => None,
            };
            if let Err(error) = on_event(event) {
                listens = false;
                failure.report(RunError::Event(error));
            }
            if let Some(stall) = stall {
                failure.report(RunError::Stalled(stall));
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

/// Receives events, and notices when nothing moves any more.
struct Watch {
    timeout: Option<Duration>,
    beats: u64,
}

impl Watch {
    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, beats: 0 }
    }

    /// The next event; `None` once all stages have ended. A stall is reported once.
    fn next(&mut self, events: &Receiver<Event>, board: &Board) -> Option<Event> {
        let Some(timeout) = self.timeout else {
            return events.recv().ok();
        };
        loop {
            match events.recv_timeout(timeout) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let beats = board.beats();
            if beats == self.beats {
                self.timeout = None;
                return Some(Event::Stalled(board.stall(timeout)));
            }
            self.beats = beats;
        }
    }
}

/// Raises the stop when a scope is left.
struct RaiseOnDrop<'a>(&'a StopSource);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// Waits until all stages are built, then starts the common clock. `None` when one could not be
/// built: its thread has dropped its end of `ready` by then, after reporting why.
fn start(ready: &Receiver<()>, stages: Vec<SyncSender<Instant>>) -> Option<Instant> {
    for _ in &stages {
        ready.recv().ok()?;
    }
    let clock = Instant::now();
    for stage in stages {
        stage.send(clock).ok()?;
    }
    Some(clock)
}

/// Keeps the first failure and stops the run with it.
struct Failure<'a> {
    first: Mutex<Option<RunError>>,
    stop: &'a StopSource,
}

impl Failure<'_> {
    fn report(&self, error: RunError) {
        if !error.is_echo() {
            lock(&self.first).get_or_insert(error);
        }
        self.stop.raise();
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
    board: Arc<Board>,
    ready: SyncSender<()>,
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
        build: impl Fn(usize, Optimizer) -> Result<S, EngineError>,
        ports: Ports<S::Activation>,
        feed: StageFeed,
    ) -> Option<End> {
        let (stage, failure) = (self.index, self.failure);
        let context = WorkerContext {
            index: stage,
            ports,
            feed,
            interrupt: self.interrupt,
            stop: self.stop,
            events: self.events,
            board: self.board,
        };
        let Plan {
            schedule,
            optimizer,
            ..
        } = self.plan;
        let built = guard(|| {
            let stage = build(stage, stage_optimizer(schedule, stage, optimizer))?;
            Worker::new(self.plan, stage, context)
        });
        let mut worker = match built {
            Ok(worker) => worker,
            Err(cause) => {
                failure.report(RunError::Build { stage, cause });
                return None;
            }
        };
        // Both ends of these channels exist until all stages are built, or one could not be.
        self.ready.send(()).ok()?;
        drop(self.ready);
        worker.start_clock(self.start.recv().ok()?);
        let mut program = self.plan.schedule.program(stage, &self.plan.horizon);
        if let Some(snapshot) = &self.plan.resume {
            program.skip_to(snapshot.version);
        }
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
        let mark = guard(|| worker.execute(action)).map_err(|cause| RunError::Stage {
            stage,
            action,
            version: worker.version(),
            cause,
        })?;
        match mark {
            Some(Mark {
                version,
                halts: true,
            }) => {
                program.halt_at(version);
                interrupted = true;
            }
            Some(Mark { version, .. }) => program.snapshot_at(version),
            None => {}
        }
    }
    worker.end();
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
