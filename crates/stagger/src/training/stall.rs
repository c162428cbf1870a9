//! A pipeline in which nothing moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stagger_report::RunLog;
use stagger_runtime::Stall;

/// A run in which nothing moves any more. It ends with an error as soon as all of its threads have ended; a program that
/// does not want to wait for one that hangs has to end its process.
#[derive(Clone, Debug)]
pub struct Stalled {
    /// Which stage the others wait for, and what each did last.
    pub stall: Stall,
    /// The run's log, where it has a folder.
    pub log: Option<RunLog>,
    has_ended: Ended,
}

impl Stalled {
    pub(super) fn new(stall: &Stall, log: Option<RunLog>, has_ended: &Ended) -> Self {
        Self {
            stall: stall.clone(),
            log,
            has_ended: has_ended.clone(),
        }
    }

    /// Whether all threads of the run have ended by now.
    pub fn has_ended(&self) -> bool {
        self.has_ended.0.load(Ordering::Acquire)
    }
}

/// Whether the threads of a run have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<AtomicBool>);

impl Ended {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}
