//! A broadcast "stop": raised once by whoever fails first, seen at once by all who wait.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

/// Raises the stop. Dropping it raises it too, so that nobody outlives its owner.
#[derive(Debug)]
pub struct StopSource {
    // A channel nobody ever sends on: closing it wakes every `select` that watches the other end.
    sender: Mutex<Option<Sender<Infallible>>>,
}

/// Sees the stop; cheap to clone.
#[derive(Clone, Debug)]
pub struct StopSignal {
    receiver: Receiver<Infallible>,
}

/// A connected pair.
#[must_use]
pub fn stop_channel() -> (StopSource, StopSignal) {
    let (sender, receiver) = bounded(0);
    (
        StopSource {
            sender: Mutex::new(Some(sender)),
        },
        StopSignal { receiver },
    )
}

impl StopSource {
    /// Stops the run: every blocked link call returns. Raising twice is harmless.
    pub fn raise(&self) {
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

impl StopSignal {
    /// Whether the stop has been raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// A channel that becomes ready (disconnected) when the stop is raised, for `select!`.
    #[must_use]
    pub fn raised(&self) -> &Receiver<Infallible> {
        &self.receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_is_seen_by_every_clone_and_dropping_raises() {
        let (source, signal) = stop_channel();
        let other = signal.clone();
        assert!(!signal.is_raised() && !other.is_raised());
        source.raise();
        source.raise();
        assert!(signal.is_raised() && other.is_raised());

        let (source, signal) = stop_channel();
        drop(source);
        assert!(signal.is_raised());
    }
}
