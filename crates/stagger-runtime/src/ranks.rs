//! A run whose stages are shared out over the processes of a [`World`](stagger_transport::World).
//!
//! The placement of the ranks is one of places: of stages, or of replicas of stages where there are any. Every process executes the
//! programs of its own, on the code that one process executes all of them with. Rank 0 [leads][`lead`]: it has stage 0, hears the events of all stages, starts the clock, keeps the first failure and stops the others.
//! The others [`follow`]. What would pass through shared memory in one process passes over the control lane of the stretch:
//! `messages.rs` has all of it.

mod follower;
mod leader;
mod messages;

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_transport::Ranks;
use stagger_transport::wire::Address;

use crate::event::Event;
use crate::fault::{EventError, RunError};
use crate::feed::Feeds;
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
pub use messages::check_control;
use stagger_schedule::Place;

use follower::Follower;
use leader::Leader;

/// Runs the plan as rank 0. The arguments are those of [`threads::run`](crate::threads::run); `build` is called for the stages of
/// this rank, and `on_event` gets the events of all.
///
/// # Errors
/// The first failure of any rank. All ranks have stopped by then.
///
/// # Panics
/// When this is not rank 0.
pub fn lead<S, B>(
    ranks: &Ranks,
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
    assert_eq!(ranks.world.rank(), 0, "rank 0 leads");
    let host = Host {
        plan,
        places: ranks.placement.stages_of(0),
        interrupt,
        peers: &Leader::new(ranks, &plan.replicas),
    };
    let outcome = host.run(ranks, build, feeds, on_event);
    ranks.world.close(control_of(ranks.stretch));
    outcome
}

/// Runs this rank's part of the plan. Of `feeds`, only the ends that lie here are used: inputs where stage 0 has a replica, labels where the last
/// stage has one.
///
/// # Errors
/// The first failure here; rank 0 has been told of it.
///
/// # Panics
/// When this is rank 0.
pub fn follow<S, B>(ranks: &Ranks, plan: &Plan, build: B, feeds: Feeds) -> Result<(), RunError>
where
    S: Stage,
    B: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
{
    assert_ne!(ranks.world.rank(), 0, "rank 0 leads");
    let follower = Follower::new(ranks, plan.stall_timeout);
    // The leader watches over all ranks.
    let plan = &Plan {
        stall_timeout: None,
        ..plan.clone()
    };
    let host = Host {
        plan,
        places: ranks.placement.stages_of(ranks.world.rank()),
        interrupt: &Interrupt::new(),
        peers: &follower,
    };
    let ended = host.run(ranks, build, feeds, |_| Ok(()));
    ranks.world.close(control_of(ranks.stretch));
    ended.map(drop)
}

/// The control lane of a stretch.
fn control_of(stretch: u32) -> Address {
    Address::Control { stretch }
}
