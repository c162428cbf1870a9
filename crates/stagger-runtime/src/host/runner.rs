//! The thread of one stage.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_schedule::{Action, Program};
use stagger_transport::sync::mpsc::{Receiver, Sender, SyncSender};
use stagger_transport::sync::thread;
use stagger_transport::{Mark, StopSignal};

use super::peers::{End, Reported};
use crate::board::Board;
use crate::cargo::Cargo;
use crate::fault::{Fault, RunError};
use crate::feed::StageFeed;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::ports::Ports;
use crate::stage_optimizer::build_stage;
use crate::worker::{Worker, WorkerContext};
use stagger_schedule::Place;

/// The longest time that a failed evaluation waits for the other stages' snapshots of its version.
const SNAPSHOT_GRACE: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// What the thread of one stage is given.
pub(super) struct Runner<'a, R> {
    pub plan: &'a Plan,
    /// The number of the worker's place.
    pub number: usize,
    /// The places whose lines on the board are kept here.
    pub seen: Range<usize>,
    pub interrupt: Interrupt,
    pub stop: StopSignal,
    pub events: Sender<Reported>,
    pub board: Arc<Board>,
    pub ready: SyncSender<()>,
    pub start: Receiver<Instant>,
    pub report: &'a R,
}

impl<R: Fn(RunError)> Runner<'_, R> {
    /// Builds the stage and executes its program. `None` when it failed.
    ///
    /// A failure is reported before anything is dropped: a neighbour that found its link closed
    /// first would report that instead of the cause.
    pub fn run<S: Stage>(
        self,
        build: impl Fn(Place, Optimizer) -> Result<S, EngineError>,
        ports: Ports<Cargo<S::Activation>>,
        feed: StageFeed,
    ) -> Option<End> {
        let (place, report) = (self.plan.replicas.place(self.number), self.report);
        let stage = place.stage;
        let from = self.plan.replicas.places_of(stage..stage + 1).start;
        let others = Others {
            places: from.max(self.seen.start)..self.seen.end,
            own: self.number,
            board: Arc::clone(&self.board),
            stop: self.stop.clone(),
        };
        let context = WorkerContext {
            number: self.number,
            ports,
            feed,
            interrupt: self.interrupt,
            stop: self.stop,
            events: self.events,
            board: self.board,
        };
        let built = guard(|| {
            let stage = build_stage(self.plan, place, build)?;
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
        train(&mut worker, stage, program, &others)
            .map_err(report)
            .ok()
    }
}

/// The other replicas of a stage, and the stages above.
struct Others {
    /// The replicas of the stage, and all places above, as far as they are seen here.
    places: Range<usize>,
    own: usize,
    board: Arc<Board>,
    stop: StopSignal,
}

impl Others {
    /// Lets them take the snapshot of a version whose evaluation has failed here: it is complete only with the parts of all, and a
    /// failure stops them at once. They have all that they need for it by then. So have the stages below, once they have sent the
    /// first batch of the evaluation up.
    fn await_snapshots(&self, version: usize) {
        let began = Instant::now();
        let (before, behind) = (self.places.start..self.own, self.own + 1..self.places.end);
        let have_taken = |places: &Range<usize>| self.board.have_snapshot(places.clone(), version);
        while !(have_taken(&before) && have_taken(&behind))
            && began.elapsed() < SNAPSHOT_GRACE
            && !self.stop.is_raised()
        {
            thread::yield_now();
            thread::sleep(LOOK);
        }
    }
}

/// Executes a program to its end.
fn train<S: Stage>(
    worker: &mut Worker<S>,
    stage: usize,
    mut program: Box<dyn Program>,
    others: &Others,
) -> Result<End, RunError> {
    let mut interrupted = false;
    while let Some(action) = program.next() {
        let mark = guard(|| worker.execute(action)).map_err(|cause| {
            if let Action::Evaluate { version } = action {
                others.await_snapshots(version);
            }
            RunError::Stage {
                stage,
                action,
                version: worker.version(),
                cause,
            }
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
