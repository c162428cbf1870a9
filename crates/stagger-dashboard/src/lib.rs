//! A run of stagger as a screen of the terminal.
//!
//! | what | where |
//! | --- | --- |
//! | what is seen of a run, from its events or from the lines of `metrics.jsonl` | [`RunSeen`] |
//! | the picture of it, a function of what is seen | [`draw()`] |
//! | the same as text, where there is no terminal | [`text()`] |
//! | a run folder watched from another terminal | [`watch()`] |
//! | the run of this process, as a sink of its events | [`Live`] |
//! | the terminal, which is restored whatever happens | [`restore`] |
//!
//! **Invariants:** a run folder is read and never written, locked or waited for; what comes from it is shown without control
//! characters; memory does not grow with the length of a run; a terminal that takes no more text holds up no run.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their files themselves"
    )
)]

mod activity;
mod alerts;
mod curve;
mod draw;
mod error;
mod folder;
mod live;
mod palette;
mod screen;
mod seen;
mod stage;
mod text;
mod watch;

pub use draw::{Moment, draw};
pub use error::DashboardError;
pub use live::{Ended, Live, LiveSink};
pub use palette::Palette;
pub use screen::{is_possible, restore};
pub use seen::RunSeen;
pub use text::text;
pub use watch::{WatchOptions, watch, watch_once};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
