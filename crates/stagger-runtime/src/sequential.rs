//! The reference executor: all stages in one thread, one action at a time.

use std::sync::Arc;
use std::time::Instant;

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_schedule::Interpreter;
use stagger_transport::sync::mpsc::channel;
use stagger_transport::{Sequential, stop_channel};

use crate::board::Board;
use crate::event::Event;
use crate::fault::{EventError, Fault, RunError};
use crate::feed::Feeds;
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use crate::ports::connect;
use crate::stage_optimizer::build_stage;
use crate::worker::{Worker, WorkerContext};
use stagger_schedule::Place;

/// Runs the plan in the order of the schedule's interpreter. `build` is as in [`threads::run`](crate::threads::run).
///
/// # Errors
/// The first failure of any stage or of `on_event`.
pub fn run<S: Stage>(
    plan: &Plan,
    build: impl Fn(Place, Optimizer) -> Result<S, EngineError>,
    feeds: Feeds,
    on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError> {
    let interpreter = Interpreter::new(&plan.schedule, &plan.horizon);
    run_in_order(interpreter, plan, build, feeds, on_event)
}

/// Runs the plan in the order of a given interpreter of its schedule.
///
/// # Errors
/// The first failure of any stage or of `on_event`.
pub fn run_in_order<S: Stage>(
    interpreter: Interpreter,
    plan: &Plan,
    build: impl Fn(Place, Optimizer) -> Result<S, EngineError>,
    feeds: Feeds,
    mut on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError> {
    let stages = plan.schedule.stages();
    if plan.resume.is_some() {
        return Err(RunError::Build {
            stage: 0,
            cause: Fault::Program {
                what: "the sequential executor starts at the beginning",
            },
        });
    }
    let (events_in, events_out) = channel();
    // Never raised: an error of one stage ends the loop over all.
    let (_stop_source, stop) = stop_channel();
    if plan.replicas.any() {
        return Err(RunError::Build {
            stage: 0,
            cause: Fault::Program {
                what: "replicas in the sequential executor",
            },
        });
    }
    if plan.clip_norm.is_some() && stages > 1 {
        return Err(RunError::Build {
            stage: 0,
            cause: Fault::Program {
                what: "clipping over all stages in the sequential executor",
            },
        });
    }
    let replicas = &plan.replicas;
    let ports = connect(plan, 0..stages, &Sequential, &stop)?;
    let board = Arc::new(Board::new(replicas));
    let clock = Instant::now();
    let mut workers = Vec::with_capacity(stages);
    for (index, (ports, feed)) in ports
        .into_iter()
        .zip(feeds.split(replicas, 0..stages))
        .enumerate()
    {
        let failed = |cause: Fault| RunError::Build {
            stage: index,
            cause,
        };
        let stage = build_stage(plan, replicas.place(index), &build).map_err(failed)?;
        let context = WorkerContext {
            number: index,
            ports,
            feed,
            interrupt: Interrupt::new(),
            stop: stop.clone(),
            events: events_in.clone(),
            board: Arc::clone(&board),
        };
        let mut worker = Worker::new(plan, stage, context).map_err(failed)?;
        worker.start_clock(clock);
        workers.push(worker);
    }
    on_event(Event::Started { stages }).map_err(RunError::Event)?;
    for turn in interpreter {
        let (stage, action) = turn.map_err(|deadlock| RunError::Deadlock {
            what: deadlock.to_string(),
        })?;
        let worker = &mut workers[stage];
        let version = worker.version();
        worker.execute(action).map_err(|cause| RunError::Stage {
            stage,
            action,
            version,
            cause,
        })?;
        for reported in events_out.try_iter() {
            on_event(reported.event).map_err(RunError::Event)?;
        }
    }
    let version = workers.iter().map(Worker::version).max().unwrap_or(0);
    Ok(Outcome {
        version,
        interrupted: false,
        ended_by: None,
        wall: clock.elapsed(),
    })
}
