//! A broadcast "stop": the first failure raises it, and every thread that waits sees it at once.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use crate::sync::{Condvar, Mutex, lock};

/// Raises the stop. Dropping it raises it too, so that no thread goes on waiting when the run is gone.
#[derive(Debug)]
pub struct StopSource(Arc<Stop>);

/// Sees the stop; cheap to clone.
#[derive(Clone, Debug)]
pub struct StopSignal(Arc<Stop>);

/// A source and a signal that sees it.
#[must_use]
pub fn stop_channel() -> (StopSource, StopSignal) {
    let stop = Arc::new(Stop::default());
    (StopSource(Arc::clone(&stop)), StopSignal(stop))
}

/// Something that threads wait in. A stop has to release them.
pub(crate) trait Stoppable: Send + Sync {
    /// Releases the threads that wait, and those that are about to.
    fn stop(&self);
}

#[derive(Default)]
struct Stop {
    state: Mutex<State>,
    sleepers: Condvar,
}

#[derive(Default)]
struct State {
    raised: bool,
    /// What to stop when the stop is raised.
    watched: Vec<Weak<dyn Stoppable>>,
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").finish_non_exhaustive()
    }
}

impl StopSource {
    /// Stops the run: every blocked link call returns. Raising twice is harmless.
    pub fn raise(&self) {
        let watched = {
            let mut state = lock(&self.0.state);
            state.raised = true;
            std::mem::take(&mut state.watched)
        };
        self.0.sleepers.notify_all();
        for stoppable in watched.iter().filter_map(Weak::upgrade) {
            stoppable.stop();
        }
    }
}

impl Drop for StopSource {
    fn drop(&mut self) {
        self.raise();
    }
}

impl StopSignal {
    /// Whether the stop has been raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        lock(&self.0.state).raised
    }

    /// Sleeps for a time, or until the stop is raised. Returns whether it has been.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> bool {
        let state = lock(&self.0.state);
        let slept = (self.0.sleepers).wait_timeout_while(state, time, |state| !state.raised);
        slept.unwrap_or_else(PoisonError::into_inner).0.raised
    }

    /// Registers something to be stopped when the stop is raised. If it has been raised already, that is now.
    pub(crate) fn watch(&self, stoppable: Weak<dyn Stoppable>) {
        let mut state = lock(&self.0.state);
        if !state.raised {
            state.watched.push(stoppable);
            return;
        }
        drop(state);
        if let Some(stoppable) = stoppable.upgrade() {
            stoppable.stop();
        }
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
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

    #[test]
    fn a_sleep_ends_at_its_time_or_with_the_stop() {
        let (source, signal) = stop_channel();
        assert!(!signal.sleep(Duration::from_millis(1)));
        let sleeper = std::thread::spawn(move || signal.sleep(Duration::from_secs(3600)));
        source.raise();
        assert!(sleeper.join().unwrap());
    }
}
