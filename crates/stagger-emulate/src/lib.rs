//! Runs of the real runtime over stages that sleep instead of computing, and links on which messages take time: many devices on a
//! machine that has few.
//!
//! An [`Emulation`] says how long everything takes. [`EmulatedStage`] is a [`Stage`](stagger_engine::Stage) whose passes and updates
//! last as long as it says, and [`EmulatedLinks`] is a [`Transport`](stagger_transport::Transport). Threads, queues, events, snapshots
//! and failures are those of any run, so what such a run takes beyond the durations is what the runtime itself costs.
//!
//! **Invariant:** durations are those of [`stagger_plan::Times`], drawn by the same seed and the same units as a simulation draws them.
//! Nothing is learned: there are no weights, and losses are 0.

mod emulation;
mod links;
mod rows;
mod sleep;
mod stage;

pub use emulation::{Emulated, Emulation};
pub use links::EmulatedLinks;
pub use rows::Rows;
pub use stage::{EmulatedGraph, EmulatedStage, is_emulated};
