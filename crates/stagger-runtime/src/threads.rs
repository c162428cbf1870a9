//! The pipeline itself: one OS thread per stage, and links between them.

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_transport::{Threads, Transport};

use crate::cargo::Cargo;
use crate::event::Event;
use crate::fault::{EventError, RunError};
use crate::feed::Feeds;
use crate::host::{Alone, Host};
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use stagger_schedule::Place;

/// Runs the plan to its end, to an interrupt, or to the first failure.
///
/// `build(place, optimizer)` makes the stage of a place, on the thread that will run it. The optimizer is that of the plan as the schedule
/// changes it for the stage ([`stage_optimizer`](crate::stage_optimizer)). `on_event` is called on the calling thread, in the order in which events
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
    B: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
{
    run_over(&Threads, plan, build, feeds, interrupt, on_event)
}

/// As [`run`], over the links of another transport.
///
/// # Errors
/// As [`run`]; and when the transport cannot connect two stages.
pub fn run_over<S, B>(
    transport: &impl Transport<Cargo<S::Activation>>,
    plan: &Plan,
    build: B,
    feeds: Feeds,
    interrupt: &Interrupt,
    on_event: impl FnMut(Event) -> Result<(), EventError>,
) -> Result<Outcome, RunError>
where
    S: Stage,
    B: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
{
    let host = Host {
        plan,
        places: 0..plan.replicas.places(),
        interrupt,
        peers: &Alone,
    };
    host.run(transport, build, feeds, on_event)
}
