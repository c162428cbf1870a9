//! Schedules as data: notation, programs per stage, staleness facts.
//!
//! Everything that stagger does in parallel is written down here first, as plain data: a
//! [`Schedule`] gives every stage a [`Program`], a lazy sequence of [`Action`]s, and a
//! [`StagePolicy`] that says how long its queues are and how its backward pass works. The runtime
//! executes these programs, [`Interpreter`] runs them one action at a time, and [`explain`] prints
//! them. There is no tensor, thread or clock in this crate.
//!
//! ```
//! use stagger_schedule::{Horizon, Schedule};
//!
//! let schedule = Schedule::parse("dsp(1,0;2,0)", None)?;
//! let program: Vec<String> =
//!     schedule.program(0, &Horizon::of(4)).map(|action| action.to_string()).collect();
//! // Two batches ahead, then one forward, recompute, backward and update per batch, then a drain.
//! assert_eq!(
//!     program.join(" "),
//!     "F0 F1 F2 R0 B0 U0 F3 R1 B1 U1 R2 B2 U2 R3 B3 U3"
//! );
//! # Ok::<(), stagger_schedule::NotationError>(())
//! ```
//!
//! Where to read on: `stale_program.rs` is the program of nearly all methods in one page, `methods/`
//! has one file per method, `corrections/` one per formula against staleness, `interpreter.rs`
//! defines what it means that an action can run.

mod action;
mod convergence;
mod corrections;
mod explain;
mod facts;
mod interpreter;
mod method;
mod methods;
mod mitigations;
mod notation;
mod parse;
mod policy;
mod program;
mod replicas;
mod schedule;
mod split_program;
mod stale_program;
mod timeline;

pub use action::Action;
pub use convergence::Convergence;
pub use corrections::{
    Corrections, Damping, Discrepancy, LookAhead, Prediction, Rescheduling, Shrinking,
};
pub use explain::explain;
pub use facts::{
    Facts, Lock, Locks, StageFacts, ideal_speedup, measured_staleness, most_held, most_kept,
    most_pending, step_cost,
};
pub use interpreter::{Deadlock, Interpreter, Wait, Waiting};
pub use method::{Method, Relation, delayed_policy};
pub use notation::{NotationError, NotationProblem};
pub use policy::{BackwardWeights, ForwardWeights, GradientSource, Kept, StagePolicy};
pub use program::{Horizon, Program};
pub use replicas::{Place, Replicas, ReplicasError};
pub use schedule::{MAX_MICRO_BATCHES, MAX_REPLICAS, MAX_STAGES, MAX_STALENESS, Schedule};
