//! Links between threads of one process: ownership moves, nothing is copied.
//!
//! A hop is one lock around its three lanes and a condition variable for each end. Each end belongs to one thread, which
//! waits in one call at a time, so a change wakes at most the other end. `tests/it/model.rs` here and in `stagger-runtime`
//! check it under interleavings that a model checker chooses.

mod lanes;

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};

use crate::link::{Link, LinkError, Side};
use crate::message::{Lane, Message};
use crate::stop::{StopSignal, Stoppable};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::transport::{self, Capacities, ConnectError, Ends, Transport};
use lanes::{Lanes, Queue};

/// Evaluation inputs that may wait at a stage. One in the queue and one being computed keep both
/// stages busy; more would only hold memory.
pub(crate) const EVALUATION_CAPACITY: usize = 1;

/// Stages are threads of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl<T: Send + 'static> Transport<T> for Threads {
    fn connect(
        &self,
        _hop: transport::Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let (lower, upper) = pair(capacities, stop);
        Ok(Ends::both(lower, upper))
    }
}

/// One end of a hop: that of stage k, or that of stage k+1. When one is dropped, the other sees it.
pub struct End<T> {
    hop: Arc<Hop<T>>,
    side: Side,
}

struct Hop<T> {
    lanes: Mutex<Lanes<T>>,
    lower: Condvar,
    upper: Condvar,
}

/// The lower end (of stage k) and the upper end (of stage k+1) of a hop.
#[must_use]
pub fn pair<T: Send + 'static>(capacities: Capacities, stop: &StopSignal) -> (End<T>, End<T>) {
    let hop = Arc::new(Hop {
        lanes: Mutex::new(Lanes {
            activation: Queue::new(capacities.activation),
            evaluation: Queue::new(EVALUATION_CAPACITY),
            gradient: Queue::new(capacities.gradient),
            lower_is_gone: false,
            upper_is_gone: false,
            stopped: false,
        }),
        lower: Condvar::new(),
        upper: Condvar::new(),
    });
    let weak: Weak<Hop<T>> = Arc::downgrade(&hop);
    stop.watch(weak);
    let lower = End {
        hop: Arc::clone(&hop),
        side: Side::Lower,
    };
    let side = Side::Upper;
    (lower, End { hop, side })
}

impl<T> Hop<T> {
    fn wake(&self, side: Side) {
        self.waker(side).notify_one();
    }

    fn wait<'a>(&self, side: Side, lanes: MutexGuard<'a, Lanes<T>>) -> MutexGuard<'a, Lanes<T>> {
        let waited = self.waker(side).wait(lanes);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn waker(&self, side: Side) -> &Condvar {
        match side {
            Side::Lower => &self.lower,
            Side::Upper => &self.upper,
        }
    }
}

impl<T: Send> Stoppable for Hop<T> {
    fn stop(&self) {
        lock(&self.lanes).stopped = true;
        self.wake(Side::Lower);
        self.wake(Side::Upper);
    }
}

impl<T: Send> Link<T> for End<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        let (hop, side, lane) = (&*self.hop, self.side, message.header.lane);
        side.check_sends(lane)?;
        let mut lanes = lock(&hop.lanes);
        lanes.check_stop()?;
        lanes.check_peer(side, lane)?;
        lanes.queue(lane).put(message);
        hop.wake(side.opposite());
        while lanes.queue(lane).is_overfull() {
            lanes.check_stop()?;
            lanes.check_peer(side, lane)?;
            lanes = hop.wait(side, lanes);
        }
        Ok(())
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        let (hop, side) = (&*self.hop, self.side);
        side.check_receives(lane)?;
        let mut lanes = lock(&hop.lanes);
        loop {
            lanes.check_stop()?;
            let queue = lanes.queue(lane);
            let was_overfull = queue.is_overfull();
            if let Some(message) = queue.take() {
                if was_overfull {
                    hop.wake(side.opposite());
                }
                return Ok(message);
            }
            if lane == Lane::Evaluation && lanes.activation.is_overfull() {
                lanes.activation.take_in();
                hop.wake(side.opposite());
            }
            lanes.check_peer(side, lane)?;
            lanes = hop.wait(side, lanes);
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        lock(&self.hop.lanes).leave(self.side);
        self.hop.wake(self.side.opposite());
    }
}

impl<T> fmt::Debug for End<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}
