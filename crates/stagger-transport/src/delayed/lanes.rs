//! The queues of a hop whose messages take time, without any waiting.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Delay;
use crate::link::{LinkError, Side};
use crate::message::{Lane, Message};

/// A message that is on its way, or has arrived and waits.
#[derive(Debug)]
struct OnItsWay<T> {
    message: Message<T>,
    arrives: Instant,
    latency: Duration,
}

/// One lane: a bounded FIFO queue. As that of [`crate::Threads`], a lane exceeds its capacity by one message at most, and the sender
/// of that one waits; but a message counts until the sender can know that it is taken.
#[derive(Debug)]
pub(super) struct Queue<T> {
    capacity: usize,
    /// Taken in by the receiver while it waited for something else; read first.
    inbox: VecDeque<Message<T>>,
    messages: VecDeque<OnItsWay<T>>,
    /// When the sender will know of messages that are taken, in ascending order.
    known_at: VecDeque<Instant>,
}

/// When a sender may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Now.
    Now,
    /// At a time, if nothing is taken before that.
    At(Instant),
    /// When something is taken.
    Later,
}

impl Room {
    pub fn is_now(self) -> bool {
        self == Self::Now
    }

    /// The time, where it is known.
    pub fn at(self) -> Option<Instant> {
        match self {
            Self::At(time) => Some(time),
            Self::Now | Self::Later => None,
        }
    }
}

impl<T> Queue<T> {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inbox: VecDeque::new(),
            messages: VecDeque::with_capacity(capacity + 1),
            known_at: VecDeque::with_capacity(capacity + 1),
        }
    }

    /// The next message that has arrived. None overtakes another, however latencies vary.
    pub fn take(&mut self, now: Instant) -> Option<Message<T>> {
        self.inbox.pop_front().or_else(|| self.arrived(now))
    }

    /// Moves everything that has arrived to the receiver's side. Whether there was anything.
    pub fn take_in(&mut self, now: Instant) -> bool {
        let before = self.messages.len();
        while let Some(message) = self.arrived(now) {
            self.inbox.push_back(message);
        }
        self.messages.len() < before
    }

    /// When the next message arrives that has not been taken.
    pub fn arrival(&self) -> Option<Instant> {
        self.messages.front().map(|message| message.arrives)
    }

    /// When the sender of the last message may go on, as far as it can know that.
    pub fn has_room(&mut self, now: Instant) -> Room {
        while self.known_at.front().is_some_and(|&at| at <= now) {
            self.known_at.pop_front();
        }
        let taken = self.known_at.len();
        let excess = (self.messages.len() + taken).saturating_sub(self.capacity);
        match excess.checked_sub(1) {
            None => Room::Now,
            Some(at) => self
                .known_at
                .get(at)
                .map_or(Room::Later, |&at| Room::At(at)),
        }
    }

    fn arrived(&mut self, now: Instant) -> Option<Message<T>> {
        let next = self.messages.pop_front_if(|next| next.arrives <= now)?;
        let known = now + next.latency;
        // A sender hears of what it sent in order, however latencies vary.
        self.known_at
            .push_back(self.known_at.back().map_or(known, |&last| last.max(known)));
        Some(next.message)
    }
}

/// The three lanes of a hop, until when each direction of the link is occupied, and which ends still exist.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    pub activation: Queue<T>,
    evaluation: Queue<T>,
    gradient: Queue<T>,
    up_is_free: Option<Instant>,
    down_is_free: Option<Instant>,
    lower_is_gone: bool,
    upper_is_gone: bool,
    pub stopped: bool,
}

impl<T> Lanes<T> {
    pub fn new([activation, evaluation, gradient]: [Queue<T>; 3]) -> Self {
        Self {
            activation,
            evaluation,
            gradient,
            up_is_free: None,
            down_is_free: None,
            lower_is_gone: false,
            upper_is_gone: false,
            stopped: false,
        }
    }

    /// Sends a message on its way.
    pub fn put(&mut self, message: Message<T>, delay: Delay, now: Instant) {
        let lane = message.header.lane;
        let free = match lane {
            Lane::Activation => Some(&mut self.up_is_free),
            Lane::Gradient => Some(&mut self.down_is_free),
            Lane::Evaluation => None,
        };
        let sent = match free {
            None => now,
            Some(free) => {
                let sent = free.map_or(now, |free| free.max(now)) + delay.occupies;
                *free.insert(sent)
            }
        };
        let queue = self.queue(lane);
        queue.messages.push_back(OnItsWay {
            message,
            arrives: sent + delay.latency,
            latency: delay.latency,
        });
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Content, Header};

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn lanes(capacity: usize) -> Lanes<()> {
        Lanes::new([(); 3].map(|()| Queue::new(capacity)))
    }

    fn message(lane: Lane, batch: usize) -> Message<()> {
        let header = Header {
            lane,
            batch,
            micro: 0,
            version: 0,
            sent_at: Duration::ZERO,
            mark: None,
        };
        let content = Content::Payload(());
        Message { header, content }
    }

    fn delay(occupies: u64, latency: u64) -> Delay {
        Delay {
            occupies: ms(occupies),
            latency: ms(latency),
        }
    }

    #[test]
    fn a_link_carries_one_message_at_a_time_in_each_direction() {
        let (mut lanes, start) = (lanes(4), Instant::now());
        lanes.put(message(Lane::Activation, 0), delay(10, 5), start);
        lanes.put(message(Lane::Activation, 1), delay(10, 5), start + ms(2));
        lanes.put(message(Lane::Gradient, 0), delay(3, 5), start + ms(2));
        lanes.put(message(Lane::Evaluation, 0), delay(0, 0), start + ms(2));
        let at = |queue: &Queue<()>| queue.arrival().map(|at| at - start);
        assert_eq!(at(&lanes.activation), Some(ms(15)));
        assert_eq!(at(&lanes.gradient), Some(ms(10)));
        assert_eq!(at(&lanes.evaluation), Some(ms(2)));
        assert!(lanes.activation.take(start + ms(14)).is_none());
        assert!(lanes.activation.take(start + ms(15)).is_some());
        // The second began when the first no longer occupied the link.
        assert_eq!(at(&lanes.activation), Some(ms(25)));
        // A link that has been free since is free.
        lanes.put(message(Lane::Gradient, 1), delay(3, 5), start + ms(50));
        lanes.gradient.take(start + ms(50));
        assert_eq!(at(&lanes.gradient), Some(ms(58)));
    }

    #[test]
    fn nothing_overtakes() {
        let (mut lanes, start) = (lanes(4), Instant::now());
        lanes.put(message(Lane::Activation, 0), delay(1, 100), start);
        lanes.put(message(Lane::Activation, 1), delay(1, 0), start);
        assert!(lanes.activation.take(start + ms(50)).is_none());
        let taken = [0, 1].map(|_| lanes.activation.take(start + ms(101)).unwrap());
        assert_eq!(taken.map(|message| message.header.batch), [0, 1]);
    }

    #[test]
    fn the_sender_hears_late_of_room() {
        let (mut lanes, start) = (lanes(1), Instant::now());
        let room = |lanes: &mut Lanes<()>, at: u64| lanes.activation.has_room(start + ms(at));
        lanes.put(message(Lane::Activation, 0), delay(0, 10), start);
        assert_eq!(room(&mut lanes, 0), Room::Now);
        lanes.put(message(Lane::Activation, 1), delay(0, 10), start);
        assert_eq!(room(&mut lanes, 9), Room::Later);
        assert!(lanes.activation.take_in(start + ms(15)));
        assert_eq!(room(&mut lanes, 16), Room::At(start + ms(25)));
        assert_eq!(room(&mut lanes, 25), Room::Now);
        // Of what was taken in, too, once.
        assert!(lanes.activation.take(start + ms(15)).is_some());
        assert_eq!(room(&mut lanes, 26), Room::Now);
        assert!(lanes.activation.take(start + ms(15)).is_some());
        assert!(!lanes.activation.take_in(start + ms(30)));
    }

    #[test]
    fn without_room_a_message_has_to_be_taken_first() {
        let (mut lanes, start) = (lanes(0), Instant::now());
        lanes.put(message(Lane::Gradient, 0), delay(0, 0), start);
        assert_eq!(lanes.gradient.has_room(start), Room::Later);
        assert!(lanes.gradient.take(start).is_some());
        assert_eq!(lanes.gradient.has_room(start), Room::Now);
    }
}
