//! What ends a run early.

use stagger_transport::StopSource;
use stagger_transport::sync::{Mutex, lock};

use super::peers::Peers;
use crate::fault::RunError;

/// Keeps the first failure of a run.
pub(crate) struct Failure {
    kept: Mutex<Kept>,
    stop: StopSource,
}

#[derive(Default)]
struct Kept {
    first: Option<RunError>,
    /// Only says that a neighbour is gone; the neighbour knows more.
    of_a_neighbour: Option<RunError>,
}

impl Failure {
    pub(super) fn new(stop: StopSource) -> Self {
        Self {
            kept: Mutex::new(Kept::default()),
            stop,
        }
    }

    /// Keeps an error if it is the first that says why, and calls `tell` with it.
    pub fn keep(&self, error: RunError, tell: impl FnOnce(&RunError)) {
        if error.is_echo() {
            return;
        }
        tell(&error);
        let mut kept = lock(&self.kept);
        let place = match error.names_a_neighbour() {
            true => &mut kept.of_a_neighbour,
            false => &mut kept.first,
        };
        place.get_or_insert(error);
    }

    /// Keeps an error that only says that something else went wrong, in case nothing else says it.
    pub fn suspect(&self, error: RunError) {
        lock(&self.kept).of_a_neighbour.get_or_insert(error);
    }

    /// Releases every thread of this process that waits.
    pub fn stop(&self) {
        self.stop.raise();
    }

    pub(super) fn take(&self) -> Option<RunError> {
        let Kept {
            first,
            of_a_neighbour,
        } = std::mem::take(&mut *lock(&self.kept));
        first.or(of_a_neighbour)
    }
}

/// Raises the stop when a scope is left.
pub(super) struct StopOnDrop<'a, P: Peers>(pub &'a Failure, pub &'a P);

impl<P: Peers> Drop for StopOnDrop<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1
                .failed(&RunError::Event("the receiver of events panicked".into()));
        }
        self.0.stop();
    }
}
