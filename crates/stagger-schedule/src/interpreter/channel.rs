//! A bounded FIFO queue between two stages, in one direction.

use std::collections::VecDeque;

use crate::action::Unit;

/// Micro-batches on their way from one stage to its neighbour.
///
/// Sending always succeeds; a sender that overfills the queue is the one who has to wait, which
/// [`is_overfull`](Channel::is_overfull) tells. So a sender overfills by one at most.
pub(super) struct Channel {
    capacity: usize,
    /// Accepted by the receiver while it waited for something else; read first.
    inbox: VecDeque<Unit>,
    queue: VecDeque<Unit>,
}

impl Channel {
    pub(super) fn new(capacity: usize) -> Self {
        Channel {
            capacity,
            inbox: VecDeque::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn send(&mut self, unit: Unit) {
        self.queue.push_back(unit);
    }

    pub(super) fn take(&mut self) -> Option<Unit> {
        self.inbox.pop_front().or_else(|| self.queue.pop_front())
    }

    /// Moves everything sent so far to the receiver's side.
    pub(super) fn accept_all(&mut self) {
        self.inbox.append(&mut self.queue);
    }

    #[cfg(test)]
    pub(super) fn accepted(&self) -> usize {
        self.inbox.len()
    }

    /// The micro-batch that the receiver gets next.
    pub(super) fn head(&self) -> Option<Unit> {
        self.inbox.front().or(self.queue.front()).copied()
    }

    pub(super) fn is_overfull(&self) -> bool {
        self.queue.len() > self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.inbox.len() + self.queue.len()
    }
}
