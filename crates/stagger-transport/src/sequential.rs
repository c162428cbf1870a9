//! Links within one thread, for executing all stages one action at a time.
//!
//! Queues are unbounded and nothing waits: the caller runs an action only when its inputs are there, so an empty queue
//! means that the order is wrong, and is reported as [`LinkError::Empty`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::link::{Link, LinkError, Side};
use crate::message::{Lane, Message};
use crate::stop::StopSignal;
use crate::transport::{Capacities, ConnectError, Ends, Hop, Transport};

/// All stages share one thread. Capacities and the stop have no meaning here: nothing waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequential;

impl<T: Send + 'static> Transport<T> for Sequential {
    fn connect(
        &self,
        _hop: Hop,
        _capacities: Capacities,
        _stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let (lower, upper) = pair();
        Ok(Ends::both(lower, upper))
    }
}

/// One end of a hop; see [`pair`].
#[derive(Debug)]
pub struct End<T> {
    up: Queue<T>,
    evaluation: Queue<T>,
    down: Queue<T>,
    side: Side,
}

type Queue<T> = Arc<Mutex<VecDeque<Message<T>>>>;

/// The lower end (of stage k) and the upper end (of stage k+1) of a hop.
#[must_use]
pub fn pair<T>() -> (End<T>, End<T>) {
    let (up, evaluation, down) = (Queue::default(), Queue::default(), Queue::default());
    let end = |side| End {
        up: Arc::clone(&up),
        evaluation: Arc::clone(&evaluation),
        down: Arc::clone(&down),
        side,
    };
    (end(Side::Lower), end(Side::Upper))
}

impl<T> End<T> {
    fn queue(&self, lane: Lane) -> &Queue<T> {
        match lane {
            Lane::Activation => &self.up,
            Lane::Evaluation => &self.evaluation,
            Lane::Gradient => &self.down,
        }
    }
}

impl<T: Send> Link<T> for End<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        let lane = message.header.lane;
        self.side.check_sends(lane)?;
        self.queue(lane)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(message);
        Ok(())
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        self.side.check_receives(lane)?;
        let message = self
            .queue(lane)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        message.ok_or(LinkError::Empty { lane })
    }
}
