//! Sleeping for a time, on the whole exactly.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use stagger_engine::EngineError;

/// The longest time in which a sleeping stage does not look whether the run is stopping.
const LOOK: Duration = Duration::from_millis(100);

/// Sleeps on one thread. Timers are late by some ten microseconds; what a sleep was too long, the next one is shorter by, so that only
/// what happens between sleeps makes a stage slower than it should be.
#[derive(Clone, Default)]
pub(crate) struct Sleeper {
    overslept: Duration,
    is_stopping: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    has_sharp_timers: bool,
}

impl Sleeper {
    /// From now on sleeps end early when the run is stopping.
    pub fn watch(&mut self, is_stopping: Arc<dyn Fn() -> bool + Send + Sync>) {
        self.is_stopping = Some(is_stopping);
    }

    /// Sleeps, less what it has overslept before.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the run is stopping.
    pub fn sleep(&mut self, time: Duration) -> Result<(), EngineError> {
        let due = self.due(time);
        if due.is_zero() {
            return Ok(());
        }
        if !self.has_sharp_timers {
            sharpen_timers();
            self.has_sharp_timers = true;
        }
        let started = Instant::now();
        loop {
            let left = due.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(LOOK));
            if left > LOOK && self.is_stopping.as_ref().is_some_and(|stops| stops()) {
                return Err(EngineError::Backend {
                    message: "the run is stopping".to_owned(),
                });
            }
        }
        self.has_slept(due, started.elapsed());
        Ok(())
    }

    /// What is left to sleep of a time.
    fn due(&mut self, time: Duration) -> Duration {
        let due = time.saturating_sub(self.overslept);
        self.overslept = self.overslept.saturating_sub(time);
        due
    }

    fn has_slept(&mut self, due: Duration, slept: Duration) {
        self.overslept += slept.saturating_sub(due);
    }
}

/// Has the system's timers on this thread end as soon as they can, instead of up to 50 µs later to wake the processor less often.
#[cfg(target_os = "linux")]
fn sharpen_timers() {
    let slack = std::num::NonZeroU64::MIN;
    // Where that is not allowed, sleeps are as long on the whole, but each is less exact.
    let _ = rustix::thread::set_current_timer_slack(Some(slack));
}

#[cfg(not(target_os = "linux"))]
fn sharpen_timers() {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_a_sleep_was_too_long_the_next_ones_are_shorter_by() {
        let us = Duration::from_micros;
        let mut sleeper = Sleeper::default();
        assert_eq!(sleeper.due(us(100)), us(100));
        sleeper.has_slept(us(100), us(170));
        assert_eq!(sleeper.due(us(30)), us(0));
        assert_eq!(sleeper.due(us(50)), us(10));
        assert_eq!(sleeper.due(us(50)), us(50));
    }

    #[test]
    fn no_time_is_no_sleep() {
        let mut sleeper = Sleeper::default();
        sleeper.sleep(Duration::ZERO).unwrap();
        assert!(!sleeper.has_sharp_timers);
        sleeper.sleep(Duration::from_nanos(1)).unwrap();
        assert!(sleeper.has_sharp_timers);
    }

    #[test]
    fn a_stop_ends_a_long_sleep() {
        let looks = Arc::new(AtomicUsize::new(0));
        let mut sleeper = Sleeper::default();
        let counted = Arc::clone(&looks);
        sleeper.watch(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed) > 0
        }));
        let error = sleeper.sleep(Duration::from_secs(1 << 20)).unwrap_err();
        assert!(error.to_string().contains("the run is stopping"), "{error}");
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }
}
