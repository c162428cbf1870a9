//! The queues of a hop, without any waiting.

use std::collections::VecDeque;

use crate::link::{LinkError, Side};
use crate::message::{Lane, Message};

/// One lane: a bounded FIFO queue.
///
/// A sender puts its message in at once and then waits while the lane is overfull, that is, until there was room for the
/// message. With capacity 0 it waits until the receiver has taken it. So a lane exceeds its capacity by one message at most.
#[derive(Debug)]
pub(super) struct Queue<T> {
    capacity: usize,
    /// Taken in by the receiver while it waited for something else; read first.
    inbox: VecDeque<Message<T>>,
    messages: VecDeque<Message<T>>,
}

impl<T> Queue<T> {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inbox: VecDeque::new(),
            messages: VecDeque::with_capacity(capacity + 1),
        }
    }

    pub fn put(&mut self, message: Message<T>) {
        self.messages.push_back(message);
    }

    pub fn take(&mut self) -> Option<Message<T>> {
        self.inbox.pop_front().or_else(|| self.messages.pop_front())
    }

    /// Moves everything sent so far to the receiver's side.
    pub fn take_in(&mut self) {
        self.inbox.append(&mut self.messages);
    }

    pub fn is_overfull(&self) -> bool {
        self.messages.len() > self.capacity
    }
}

/// The three lanes of a hop, and which of its ends still exist.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    pub activation: Queue<T>,
    pub evaluation: Queue<T>,
    pub gradient: Queue<T>,
    pub lower_is_gone: bool,
    pub upper_is_gone: bool,
    pub stopped: bool,
}

impl<T> Lanes<T> {
    pub fn queue(&mut self, lane: Lane) -> &mut Queue<T> {
        match lane {
            Lane::Activation => &mut self.activation,
            Lane::Evaluation => &mut self.evaluation,
            Lane::Gradient => &mut self.gradient,
        }
    }

    pub fn check_stop(&self) -> Result<(), LinkError> {
        if self.stopped {
            return Err(LinkError::Stopped);
        }
        Ok(())
    }

    /// Makes sure that the end opposite to `side` exists.
    pub fn check_peer(&self, side: Side, lane: Lane) -> Result<(), LinkError> {
        let gone = match side {
            Side::Lower => self.upper_is_gone,
            Side::Upper => self.lower_is_gone,
        };
        if gone {
            return Err(LinkError::PeerGone { lane });
        }
        Ok(())
    }

    pub fn leave(&mut self, side: Side) {
        match side {
            Side::Lower => self.lower_is_gone = true,
            Side::Upper => self.upper_is_gone = true,
        }
    }
}
