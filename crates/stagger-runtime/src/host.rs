//! What one process of a run does: it hosts stages, a thread each, and hears of the others' through its [`Peers`].

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_schedule::Program;
use stagger_transport::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel,
};
use stagger_transport::sync::{KeptOpen, Mutex, lock, spawn_named, thread};
use stagger_transport::{Mark, StopSignal, StopSource, Transport, stop_channel};

use crate::board::Board;
use crate::cargo::Cargo;
use crate::event::Event;
use crate::fault::{EventError, Fault, RunError};
use crate::feed::{Feeds, StageFeed};
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use crate::ports::{Ports, connect};
use crate::stage_optimizer::build_stage;
use crate::worker::{Worker, WorkerContext};

/// The other processes of a run, as the threads of this one deal with them.
pub(crate) trait Peers: Sync {
    /// Called before any stage starts. What the others report goes to `reports`, until all of them have ended.
    fn listen(&self, reports: Reports);

    /// How many of the run's stages have to be built before [`start`](Self::start), of which `own` are here.
    fn awaited(&self, own: usize, all: usize) -> usize;

    /// Called when they are. Gives the start of the clock, or
    /// nothing when the run has been stopped.
    fn start(&self) -> Option<Instant>;

    /// Called with the first failure here, before the threads here are stopped.
    fn failed(&self, error: &RunError);

    /// Called with every event of a stage here. Gives it back if it is for this process.
    fn pass_on(&self, event: Event) -> Option<Event>;

    /// What the others have said of the end of their stages; called when everything here has ended.
    fn ends(&self, own: &[End]) -> Vec<End>;

    /// How long to wait for an event before `beat` is called; `None` for ever.
    fn beat_every(&self) -> Option<Duration> {
        None
    }

    /// Called at least that often, with what the stages here do.
    fn beat(&self, _board: &Board) {}
}

/// Where reports of other processes go. Dropped when no more come.
pub(crate) struct Reports {
    /// Events of their stages.
    pub events: Sender<Event>,
    /// One `()` per stage that has been built.
    pub ready: SyncSender<()>,
    pub failure: Arc<Failure>,
    pub board: Arc<Board>,
}

/// All stages are in this process.
pub(crate) struct Alone;

impl Peers for Alone {
    fn listen(&self, _reports: Reports) {}

    fn awaited(&self, own: usize, _all: usize) -> usize {
        own
    }

    fn start(&self) -> Option<Instant> {
        Some(Instant::now())
    }

    fn failed(&self, _error: &RunError) {}

    fn pass_on(&self, event: Event) -> Option<Event> {
        Some(event)
    }

    fn ends(&self, _own: &[End]) -> Vec<End> {
        Vec::new()
    }
}

/// A process and its stages.
pub(crate) struct Host<'a, P> {
    pub plan: &'a Plan,
    /// The stages of this process.
    pub stages: Range<usize>,
    pub interrupt: &'a Interrupt,
    pub peers: &'a P,
}

impl<P: Peers> Host<'_, P> {
    /// Runs the stages to the end of their programs, to an interrupt, or to the first failure.
    pub fn run<S, B>(
        &self,
        transport: &impl Transport<Cargo<S::Activation>>,
        build: B,
        feeds: Feeds,
        mut on_event: impl FnMut(Event) -> Result<(), EventError>,
    ) -> Result<Outcome, RunError>
    where
        S: Stage,
        B: Fn(usize, Optimizer) -> Result<S, EngineError> + Sync,
    {
        let plan = self.plan;
        let stages = plan.schedule.stages();
        let (stop_source, stop) = stop_channel();
        let failure = Arc::new(Failure::new(stop_source));
        let board = Arc::new(Board::new(stages));
        let (events_in, events_out) = channel();
        let (ready_in, ready_out) = sync_channel(stages);
        self.peers.listen(Reports {
            events: events_in.clone(),
            ready: ready_in.clone(),
            failure: Arc::clone(&failure),
            board: Arc::clone(&board),
        });
        let report = |error: RunError| {
            failure.keep(error, |error| self.peers.failed(error));
            failure.stop();
        };
        let ports = connect(&plan.schedule, self.stages.clone(), transport, &stop);
        let ports = ports.unwrap_or_else(|error| {
            report(error);
            Vec::new()
        });
        let feeds = feeds.split(stages).into_iter().skip(self.stages.start);

        let (clock, own_ends) = thread::scope(|scope| {
            // Should `on_event` panic, the scope joins the stages before it passes the panic on.
            let _release = StopOnDrop(&failure, self.peers);
            let open = KeptOpen::of(scope);
            let mut threads = Vec::with_capacity(self.stages.len());
            let mut starts = Vec::with_capacity(self.stages.len());
            for (index, (ports, feed)) in self.stages.clone().zip(ports.into_iter().zip(feeds)) {
                // With room: the main thread never waits for a stage that has failed.
                let (start_in, start_out) = sync_channel(1);
                starts.push(start_in);
                let runner = Runner {
                    plan,
                    index,
                    interrupt: self.interrupt.clone(),
                    stop: stop.clone(),
                    events: events_in.clone(),
                    board: Arc::clone(&board),
                    ready: ready_in.clone(),
                    start: start_out,
                    report: &report,
                };
                let build = &build;
                let work = move || runner.run(build, ports, feed);
                match spawn_named(scope, format!("stage-{index}"), work) {
                    Ok(thread) => threads.push(thread),
                    Err(cause) => report(RunError::Spawn {
                        stage: index,
                        cause,
                    }),
                }
            }
            drop((events_in, ready_in));

            let clock = self.start(&ready_out, starts);
            // Events from before a stage's failure are still delivered, but not to a receiver that has failed itself.
            let mut listens = true;
            if clock.is_some()
                && let Some(event) = self.peers.pass_on(Event::Started { stages })
                && let Err(error) = on_event(event)
            {
                listens = false;
                report(RunError::Event(error));
            }
            let mut watch = Watch::new(plan.stall_timeout, self.peers);
            while let Some(event) = watch.next(&events_out, &board) {
                let Some(event) = self.peers.pass_on(event) else {
                    continue;
                };
                if !listens {
                    continue;
                }
                let stall = match &event {
                    Event::Stalled(stall) => Some(stall.clone()),
                    _ => None,
                };
                if let Err(error) = on_event(event) {
                    listens = false;
                    report(RunError::Event(error));
                }
                if let Some(stall) = stall {
                    report(RunError::Stalled(stall));
                }
            }
            open.close();
            let ends = threads.into_iter();
            let ends = ends.filter_map(|thread| thread.join().ok().flatten());
            (clock, ends.collect::<Vec<End>>())
        });
        let wall = clock.map(|clock| clock.elapsed());
        let ends = self.peers.ends(&own_ends);
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let end = own_ends
            .into_iter()
            .chain(ends)
            .max_by_key(|end| end.version);
        let (wall, end) = wall.zip(end).ok_or(RunError::Deadlock {
            what: "no stage reported its end".into(),
        })?;
        Ok(Outcome {
            version: end.version,
            interrupted: end.interrupted,
            wall,
        })
    }

    /// Waits until all stages are built, then starts the common clock. `None` when one could not be built: its thread has
    /// dropped its end of `ready` by then, after reporting why.
    fn start(&self, ready: &Receiver<()>, stages: Vec<SyncSender<Instant>>) -> Option<Instant> {
        let all = self.plan.schedule.stages();
        for _ in 0..self.peers.awaited(self.stages.len(), all) {
            ready.recv().ok()?;
        }
        let clock = self.peers.start()?;
        for stage in stages {
            stage.send(clock).ok()?;
        }
        Some(clock)
    }
}

/// Receives events, and notices when nothing moves any more.
struct Watch<'a, P> {
    peers: &'a P,
    timeout: Option<Duration>,
    beats: u64,
    /// Since when nothing has moved.
    quiet: Duration,
}

impl<'a, P: Peers> Watch<'a, P> {
    fn new(timeout: Option<Duration>, peers: &'a P) -> Self {
        Self {
            peers,
            timeout,
            beats: 0,
            quiet: Duration::ZERO,
        }
    }

    /// The next event; `None` once all stages have ended. A stall is reported once.
    fn next(&mut self, events: &Receiver<Event>, board: &Board) -> Option<Event> {
        loop {
            let Some(wait) = [self.timeout, self.peers.beat_every()]
                .into_iter()
                .flatten()
                .min()
            else {
                return events.recv().ok();
            };
            match events.recv_timeout(wait) {
                Ok(event) => {
                    self.quiet = Duration::ZERO;
                    return Some(event);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.peers.beat(board);
            let beats = board.beats();
            if beats != self.beats {
                self.beats = beats;
                self.quiet = Duration::ZERO;
                continue;
            }
            self.quiet += wait;
            if let Some(timeout) = self.timeout.filter(|timeout| self.quiet >= *timeout) {
                self.timeout = None;
                return Some(Event::Stalled(board.stall(timeout)));
            }
        }
    }
}

/// Raises the stop when a scope is left.
struct StopOnDrop<'a, P: Peers>(&'a Failure, &'a P);

impl<P: Peers> Drop for StopOnDrop<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1
                .failed(&RunError::Event("the receiver of events panicked".into()));
        }
        self.0.stop();
    }
}

/// Keeps the first failure of a run.
pub(crate) struct Failure {
    kept: Mutex<Kept>,
    stop: StopSource,
}

#[derive(Default)]
struct Kept {
    first: Option<RunError>,
    /// Only says that a neighbour is gone; the neighbour knows more.
    of_a_neighbour: Option<RunError>,
}

impl Failure {
    fn new(stop: StopSource) -> Self {
        Self {
            kept: Mutex::new(Kept::default()),
            stop,
        }
    }

    /// Keeps an error if it is the first that says why, and calls `tell` with it.
    pub fn keep(&self, error: RunError, tell: impl FnOnce(&RunError)) {
        if error.is_echo() {
            return;
        }
        tell(&error);
        let mut kept = lock(&self.kept);
        let place = match error.names_a_neighbour() {
            true => &mut kept.of_a_neighbour,
            false => &mut kept.first,
        };
        place.get_or_insert(error);
    }

    /// Releases every thread of this process that waits.
    pub fn stop(&self) {
        self.stop.raise();
    }

    fn take(&self) -> Option<RunError> {
        let Kept {
            first,
            of_a_neighbour,
        } = std::mem::take(&mut *lock(&self.kept));
        first.or(of_a_neighbour)
    }
}

/// Where a stage's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub version: usize,
    pub interrupted: bool,
}

/// What the thread of one stage is given.
struct Runner<'a, R> {
    plan: &'a Plan,
    index: usize,
    interrupt: Interrupt,
    stop: StopSignal,
    events: Sender<Event>,
    board: Arc<Board>,
    ready: SyncSender<()>,
    start: Receiver<Instant>,
    report: &'a R,
}

impl<R: Fn(RunError)> Runner<'_, R> {
    /// Builds the stage and executes its program. `None` when it failed.
    ///
    /// A failure is reported before anything is dropped: a neighbour that found its link closed
    /// first would report that instead of the cause.
    fn run<S: Stage>(
        self,
        build: impl Fn(usize, Optimizer) -> Result<S, EngineError>,
        ports: Ports<Cargo<S::Activation>>,
        feed: StageFeed,
    ) -> Option<End> {
        let (stage, report) = (self.index, self.report);
        let context = WorkerContext {
            index: stage,
            ports,
            feed,
            interrupt: self.interrupt,
            stop: self.stop,
            events: self.events,
            board: self.board,
        };
        let built = guard(|| {
            let stage = build_stage(self.plan, stage, build)?;
            Worker::new(self.plan, stage, context)
        });
        let mut worker = match built {
            Ok(worker) => worker,
            Err(cause) => {
                report(RunError::Build { stage, cause });
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
        train(&mut worker, stage, program).map_err(report).ok()
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

/// Turns a panic into a [`Fault`], so that the other stages are released and the run reports it.
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
