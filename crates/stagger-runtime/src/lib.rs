//! Workers that execute schedule programs, one per stage or replica of a stage, and the events they emit.
//!
//! A [`Plan`] says what to run: a schedule, how far, the optimizer and the learning rate. Three executors run the same worker
//! over the same programs:
//!
//! | module | how |
//! | --- | --- |
//! | [`threads`] | one OS thread per stage, over any transport; the real thing |
//! | [`ranks`] | the same, with stages shared out over the processes of a world |
//! | [`sequential`] | one thread, one action at a time in the interpreter's order; the reference |
//!
//! All give the same numbers to the bit (docs/algorithm.md, "Facts" 1), which the tests check.
//!
//! **Invariants:** the runtime emits [`Event`]s and never prints; it knows an engine only through
//! [`stagger_engine::Stage`]; a stage that fails releases all others at once.

mod board;
mod cargo;
mod corrections;
mod dataset_feeds;
mod event;
mod fault;
mod feed;
mod host;
mod interrupt;
mod plan;
mod ports;
pub mod ranks;
pub mod sequential;
pub mod snapshot;
mod stage_optimizer;
mod straggler;
pub mod threads;
mod worker;

pub use board::Stall;
pub use cargo::Cargo;
pub use corrections::{CorrectionError, check_corrections};
pub use dataset_feeds::{dataset_feeds, dataset_labels};
pub use event::{Acted, Event, Waits};
pub use fault::{EventError, Fault, FeedError, RunError};
pub use feed::{Elsewhere, Feeds, Inputs, Labels};
pub use interrupt::Interrupt;
pub use plan::{EarlyEnd, OnNonFinite, Outcome, Plan};
pub use stage_optimizer::stage_optimizer;
pub use stagger_schedule::{Place, Replicas, ReplicasError};
pub use straggler::{Straggler, StragglerError};
pub use worker::passes::MOST_SKIPPED_IN_A_ROW;
