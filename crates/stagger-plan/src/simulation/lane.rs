//! One direction of a hop: a bounded queue, and the link that fills it.

use std::collections::VecDeque;

/// What a message takes on its way.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    /// How long the link carries nothing else.
    pub occupies: u64,
    /// From then to its arrival; and from its taking until the sender knows.
    pub latency: u64,
}

/// The messages between two stages, by their times alone.
pub(super) struct Lane {
    capacity: usize,
    /// Messages sent.
    sent: usize,
    /// What was sent and not taken: when it arrives, and what its way back takes.
    arrivals: VecDeque<(u64, u64)>,
    /// When the sender heard of what was taken, from message `first_known` on.
    known: VecDeque<u64>,
    first_known: usize,
    link_is_free_at: u64,
    last_arrival: u64,
    last_known: u64,
    /// Sum over messages of the time from arrival to taking.
    waited: u64,
}

impl Lane {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            sent: 0,
            arrivals: VecDeque::new(),
            known: VecDeque::new(),
            first_known: 0,
            link_is_free_at: 0,
            last_arrival: 0,
            last_known: 0,
            waited: 0,
        }
    }

    pub fn send(&mut self, at: u64, Transfer { occupies, latency }: Transfer) {
        self.link_is_free_at = self.link_is_free_at.max(at).saturating_add(occupies);
        // No message overtakes another.
        let arrival = self.link_is_free_at.saturating_add(latency);
        self.last_arrival = self.last_arrival.max(arrival);
        self.arrivals.push_back((self.last_arrival, latency));
        self.sent += 1;
    }

    /// When the sender of the last message can go on: once it knows that all but `capacity` messages were taken. `None` while the
    /// receiver has not taken so many.
    pub fn has_room_at(&mut self) -> Option<u64> {
        let Some(last) = self.sent.checked_sub(self.capacity + 1) else {
            return Some(0);
        };
        while self.first_known < last {
            self.known.pop_front()?;
            self.first_known += 1;
        }
        self.known.front().copied()
    }

    /// When the next message to take arrives. `None` while it was not sent.
    pub fn arrives_at(&self) -> Option<u64> {
        self.arrivals.front().map(|(arrival, _)| *arrival)
    }

    pub fn take(&mut self, at: u64) {
        if let Some((arrival, latency)) = self.arrivals.pop_front() {
            self.waited = self.waited.saturating_add(at - arrival);
            self.last_known = self.last_known.max(at.saturating_add(latency));
            self.known.push_back(self.last_known);
        }
    }

    /// How many messages wait at the receiver, in the mean over so long a time.
    pub fn mean_length(&self, over: u64) -> f64 {
        self.waited as f64 / over.max(1) as f64
    }
}
