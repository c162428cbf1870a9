//! Links between threads of one process whose messages take time: what a slow network would do, without a network.
//!
//! A link carries one message at a time in each direction. A message waits until the link is free, occupies it for a time, and
//! arrives a latency later. The sender is held up by the bound of the lane alone, and hears a latency late that the receiver has
//! taken a message. Messages of evaluations take no time.

mod lanes;

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::link::{Link, LinkError, Side};
use crate::message::{Header, Lane, Message};
use crate::stop::{StopSignal, Stoppable};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::threads::EVALUATION_CAPACITY;
use crate::transport::{Capacities, ConnectError, Ends, Hop, Transport};
use lanes::{Lanes, Queue};

/// What a message takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// How long it occupies the link.
    pub occupies: Duration,
    /// From then to its arrival, and from the moment at which it is taken to the one at which the sender knows that.
    pub latency: Duration,
}

/// What each message of a hop takes. Called once for every message of a training lane, in the order of sending.
pub type Delays = Arc<dyn Fn(Hop, &Header) -> Delay + Send + Sync>;

/// Stages are threads of this process, and messages between them take time.
#[derive(Clone)]
pub struct Delayed {
    delays: Delays,
}

impl Delayed {
    /// Links on which messages take this long.
    pub fn new(delays: impl Fn(Hop, &Header) -> Delay + Send + Sync + 'static) -> Self {
        Self {
            delays: Arc::new(delays),
        }
    }
}

impl fmt::Debug for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delayed").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Transport<T> for Delayed {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let wire = Arc::new(Wire {
            hop,
            delays: Arc::clone(&self.delays),
            lanes: Mutex::new(Lanes::new([
                Queue::new(capacities.activation),
                Queue::new(EVALUATION_CAPACITY),
                Queue::new(capacities.gradient),
            ])),
            lower: Condvar::new(),
            upper: Condvar::new(),
        });
        let weak: Weak<Wire<T>> = Arc::downgrade(&wire);
        stop.watch(weak);
        let end = |side| End {
            wire: Arc::clone(&wire),
            side,
        };
        Ok(Ends::both(end(Side::Lower), end(Side::Upper)))
    }
}

/// One end of a hop. When it is dropped, the other sees it.
struct End<T> {
    wire: Arc<Wire<T>>,
    side: Side,
}

/// A hop: as that of [`crate::Threads`], one lock and a condition variable for each end.
struct Wire<T> {
    hop: Hop,
    delays: Delays,
    lanes: Mutex<Lanes<T>>,
    lower: Condvar,
    upper: Condvar,
}

impl<T> Wire<T> {
    fn wake(&self, side: Side) {
        self.waker(side).notify_one();
    }

    /// Waits for the other end, or until a time.
    fn wait<'a>(
        &self,
        side: Side,
        lanes: MutexGuard<'a, Lanes<T>>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Lanes<T>> {
        let waker = self.waker(side);
        match until {
            None => waker.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                let waited = waker.wait_timeout(lanes, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn waker(&self, side: Side) -> &Condvar {
        match side {
            Side::Lower => &self.lower,
            Side::Upper => &self.upper,
        }
    }

    fn delay(&self, header: &Header) -> Delay {
        match header.lane {
            Lane::Evaluation => Delay::default(),
            Lane::Activation | Lane::Gradient => (self.delays)(self.hop, header),
        }
    }
}

impl<T: Send> Stoppable for Wire<T> {
    fn stop(&self) {
        lock(&self.lanes).stopped = true;
        self.wake(Side::Lower);
        self.wake(Side::Upper);
    }
}

impl<T: Send> Link<T> for End<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        let (wire, side, lane) = (&*self.wire, self.side, message.header.lane);
        side.check_sends(lane)?;
        let delay = wire.delay(&message.header);
        let mut lanes = lock(&wire.lanes);
        lanes.check_stop()?;
        lanes.check_peer(side, lane)?;
        lanes.put(message, delay, Instant::now());
        wire.wake(side.opposite());
        loop {
            // Room at a known time needs nothing of the other end, which may be gone by then.
            let room = lanes.queue(lane).has_room(Instant::now());
            if room.is_now() {
                return Ok(());
            }
            lanes.check_stop()?;
            if room.at().is_none() {
                lanes.check_peer(side, lane)?;
            }
            lanes = wire.wait(side, lanes, room.at());
        }
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        let (wire, side) = (&*self.wire, self.side);
        side.check_receives(lane)?;
        let mut lanes = lock(&wire.lanes);
        loop {
            lanes.check_stop()?;
            let now = Instant::now();
            if let Some(message) = lanes.queue(lane).take(now) {
                wire.wake(side.opposite());
                return Ok(message);
            }
            let mut until = lanes.queue(lane).arrival();
            if until.is_none() {
                lanes.check_peer(side, lane)?;
            }
            if lane == Lane::Evaluation && !lanes.activation.has_room(now).is_now() {
                if lanes.activation.take_in(now) {
                    wire.wake(side.opposite());
                }
                until = until.into_iter().chain(lanes.activation.arrival()).min();
            }
            lanes = wire.wait(side, lanes, until);
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        lock(&self.wire.lanes).leave(self.side);
        self.wire.wake(self.side.opposite());
    }
}
