//! Random delays on every link.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use stagger_transport::{
    Capacities, ConnectError, Ends, Hop, Lane, Link, LinkError, Message, StopSignal, Transport,
};

/// A transport whose links wait for a pseudo-random time before every message.
pub struct Delays<X> {
    inner: X,
    seed: Cell<u64>,
}

impl<X> Delays<X> {
    pub fn over(inner: X, seed: u64) -> Self {
        let seed = Cell::new(seed);
        Self { inner, seed }
    }

    /// The next end of a hop.
    fn delayed<T: Send + 'static>(
        &self,
        inner: Option<Box<dyn Link<T>>>,
    ) -> Option<Box<dyn Link<T>>> {
        let state = self.seed.get().wrapping_mul(31).wrapping_add(7);
        self.seed.set(state);
        inner.map(|inner| Box::new(Delayed { inner, state }) as Box<dyn Link<T>>)
    }
}

impl<T: Send + 'static, X: Transport<T>> Transport<T> for Delays<X> {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let Ends { lower, upper } = self.inner.connect(hop, capacities, stop)?;
        Ok(Ends {
            lower: self.delayed(lower),
            upper: self.delayed(upper),
        })
    }
}

struct Delayed<T> {
    inner: Box<dyn Link<T>>,
    state: u64,
}

impl<T> Delayed<T> {
    fn pause(&mut self) {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        match self.state >> 61 {
            0 => thread::sleep(Duration::from_micros(self.state >> 54 & 127)),
            1 | 2 => thread::yield_now(),
            _ => {}
        }
    }
}

impl<T: Send> Link<T> for Delayed<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        self.pause();
        self.inner.send(message)
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        self.pause();
        self.inner.receive(lane)
    }
}
