//! The other processes of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stagger_transport::sync::mpsc::{Sender, SyncSender};

use super::failure::Failure;
use crate::board::Board;
use crate::event::Event;
use crate::fault::RunError;

/// An event, and the number of the place that reports it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reported {
    pub place: usize,
    pub event: Event,
}

/// Where a stage's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub version: usize,
    pub interrupted: bool,
}

/// The other processes of a run, as the threads of this one deal with them.
pub(crate) trait Peers: Sync {
    /// Called before any stage starts. What the others report goes to `reports`, until all of them have ended.
    fn listen(&self, reports: Reports);

    /// How many of the run's places have to be built before [`start`](Self::start), of which `own` are here.
    fn awaited(&self, own: usize, all: usize) -> usize;

    /// Called when they are. Gives the start of the clock, or
    /// nothing when the run has been stopped.
    fn start(&self) -> Option<Instant>;

    /// Called with the first failure here, before the threads here are stopped.
    fn failed(&self, error: &RunError);

    /// Whether events are for this process.
    fn hears(&self) -> bool {
        true
    }

    /// Called with every event of a place here. Gives it back if it is for this process.
    fn pass_on(&self, event: Reported) -> Option<Reported>;

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
    pub events: Sender<Reported>,
    /// One `()` per place that has been built.
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

    fn pass_on(&self, event: Reported) -> Option<Reported> {
        Some(event)
    }

    fn ends(&self, _own: &[End]) -> Vec<End> {
        Vec::new()
    }
}
