//! The screen of a training run, in a build without one.

use anyhow::anyhow;
use stagger::report::EpochTally;
use stagger::{Interrupt, Prepared, Training};

use crate::failure::Failure;

/// How stagger is built with it.
const BUILD: &str = "cargo build --release --features tui";

/// A screen that cannot be made.
#[derive(Clone)]
pub enum RunScreen {}

impl RunScreen {
    /// Refuses.
    pub fn new() -> Result<Self, Failure> {
        Err(missing("--tui"))
    }

    /// There is none.
    pub fn on<'a>(&self, _training: Training<'a>) -> Training<'a> {
        match *self {}
    }

    /// There is none.
    pub fn begin(&self, _tally: &EpochTally) {
        match *self {}
    }

    /// There is none.
    pub fn describe(&self, _run: &Prepared<'_>, _interrupt: &Interrupt) {
        match *self {}
    }

    /// There is none.
    pub fn listen(&self, _interrupt: &Interrupt) -> Result<(), Failure> {
        match *self {}
    }
}

/// The sentence on what this build has not.
pub fn missing(what: &str) -> Failure {
    anyhow!(
        "{what} needs the screen, and this stagger was built without it; build it with `{BUILD}`"
    )
    .into()
}

/// There is nothing to give back.
pub fn restore() {}
