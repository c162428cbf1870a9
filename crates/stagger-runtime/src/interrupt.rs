//! Requests to a run from outside: to end early and cleanly, as Ctrl-C makes it, or to take a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Can be set from any thread. Stage 0 reads it before every forward.
///
/// Stage 0 then announces, with the next activation, the version at which all stages halt, or of which they take a snapshot. What is
/// in flight there goes into the snapshot of that version, so the run can resume from it as if it had never stopped.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    end: Arc<AtomicBool>,
    snapshot: Arc<AtomicBool>,
}

impl Interrupt {
    /// An interrupt that has not been requested.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to end. Returns whether it had been asked before.
    pub fn request(&self) -> bool {
        self.end.swap(true, Ordering::Relaxed)
    }

    /// The flag itself, for signal handlers: storing `true` asks the run to end.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.end)
    }

    /// Whether the run has been asked to end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// Asks the run to take a snapshot at the next version and to go on. Requests before it is announced are one.
    pub fn request_snapshot(&self) {
        self.snapshot.store(true, Ordering::Relaxed);
    }

    /// The flag of that request, for signal handlers.
    #[must_use]
    pub fn snapshot_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.snapshot)
    }

    /// Whether a snapshot has been asked for since the last call.
    #[must_use]
    pub fn take_snapshot_request(&self) -> bool {
        self.snapshot.swap(false, Ordering::Relaxed)
    }
}
