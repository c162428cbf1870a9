//! One end of a hop whose other end is reached by frames of bytes.
//!
//! The lanes of a hop keep their bounds without sharing memory: a receiver acknowledges every message that it takes, and a sender
//! waits while more messages than the lane's capacity are not acknowledged. That is the rule of [`threads`](crate::threads), with
//! the way of a frame in between. `tests/it/model.rs` checks it under interleavings that a model checker chooses.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, Weak};

use crate::link::{Link, LinkError, Side};
use crate::message::{Content, Lane, Message};
use crate::stop::{StopSignal, Stoppable};
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::threads::EVALUATION_CAPACITY;
use crate::transport::Capacities;
use crate::wire::{self, Format, Frame, Payload, Place, WireError};

/// Carries frames to the other end: all of them, once, in the order of the calls.
pub(crate) trait Courier: Send + Sync {
    /// Sends a frame. Never waits for the receiver.
    fn post(&self, frame: Vec<u8>);
}

/// Where the frames of one end arrive.
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Frames with messages that have not been taken, by lane.
    arrived: [VecDeque<Vec<u8>>; 3],
    /// Activations that were taken in while the stage waited for an evaluation input; read first.
    taken_in: VecDeque<Vec<u8>>,
    /// Messages that the other end has not taken, by lane.
    unacknowledged: [usize; 3],
    peer_is_gone: bool,
    stopped: bool,
    /// What was wrong with a frame.
    broken: Option<WireError>,
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Activation => 0,
        Lane::Gradient => 1,
        Lane::Evaluation => 2,
    }
}

impl Inbox {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        })
    }

    /// Takes a frame from the other end.
    pub fn deliver(&self, frame: Vec<u8>) {
        let mut state = lock(&self.state);
        // Its tensor is read by the stage that receives it.
        match wire::read(&frame) {
            Ok(Frame::Message(header, _)) => state.arrived[index(header.lane)].push_back(frame),
            Ok(Frame::Taken { lane, messages }) => {
                let waiting = &mut state.unacknowledged[index(lane)];
                *waiting = waiting.saturating_sub(messages as usize);
            }
            Ok(Frame::Departed) => state.peer_is_gone = true,
            Err(error) => state.broken = Some(error),
        }
        drop(state);
        self.changed.notify_one();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stoppable for Inbox {
    fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_one();
    }
}

impl State {
    fn check_stop(&self, lane: Lane) -> Result<(), LinkError> {
        if self.stopped {
            return Err(LinkError::Stopped);
        }
        match self.broken {
            Some(error) => Err(LinkError::Wire { lane, error }),
            None => Ok(()),
        }
    }

    fn check_peer(&self, lane: Lane) -> Result<(), LinkError> {
        if self.peer_is_gone {
            return Err(LinkError::PeerGone { lane });
        }
        Ok(())
    }
}

/// One end of a hop. When it is dropped, the other end is told.
pub(crate) struct RemoteEnd<T> {
    inbox: Arc<Inbox>,
    courier: Box<dyn Courier>,
    side: Side,
    capacities: Capacities,
    place: Place,
    format: Format,
    payload: PhantomData<fn() -> T>,
}

impl<T: Payload> RemoteEnd<T> {
    /// The end on `side` of a hop: `inbox` is where the other end's frames arrive. Tensors are written in this format.
    pub fn new(
        (inbox, courier): (Arc<Inbox>, Box<dyn Courier>),
        side: Side,
        capacities: Capacities,
        (place, format): (Place, Format),
        stop: &StopSignal,
    ) -> Self {
        let weak: Weak<Inbox> = Arc::downgrade(&inbox);
        stop.watch(weak);
        Self {
            inbox,
            courier,
            side,
            capacities,
            place,
            format,
            payload: PhantomData,
        }
    }

    fn capacity(&self, lane: Lane) -> usize {
        match lane {
            Lane::Activation => self.capacities.activation,
            Lane::Gradient => self.capacities.gradient,
            Lane::Evaluation => EVALUATION_CAPACITY,
        }
    }

    fn acknowledge(&self, lane: Lane, messages: usize) {
        // No more than the capacity and one.
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        self.courier
            .post(wire::write_taken(self.place, lane, messages));
    }

    /// The frame of the next message of a lane.
    fn next_frame(&self, lane: Lane) -> Result<Vec<u8>, LinkError> {
        let inbox = &*self.inbox;
        let mut state = lock(&inbox.state);
        loop {
            state.check_stop(lane)?;
            if lane == Lane::Activation
                && let Some(frame) = state.taken_in.pop_front()
            {
                return Ok(frame);
            }
            if let Some(frame) = state.arrived[index(lane)].pop_front() {
                drop(state);
                self.acknowledge(lane, 1);
                return Ok(frame);
            }
            let activations = state.arrived[index(Lane::Activation)].len();
            if lane == Lane::Evaluation && activations > self.capacity(Lane::Activation) {
                let State {
                    arrived, taken_in, ..
                } = &mut *state;
                taken_in.append(&mut arrived[index(Lane::Activation)]);
                drop(state);
                self.acknowledge(Lane::Activation, activations);
                state = lock(&inbox.state);
                continue;
            }
            state.check_peer(lane)?;
            state = inbox.wait(state);
        }
    }
}

impl<T: Payload> Link<T> for RemoteEnd<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        let lane = message.header.lane;
        self.side.check_sends(lane)?;
        {
            let state = lock(&self.inbox.state);
            state.check_stop(lane)?;
            state.check_peer(lane)?;
        }
        let frame = wire::write_message(self.place, self.format, &message)?;
        drop(message);
        lock(&self.inbox.state).unacknowledged[index(lane)] += 1;
        self.courier.post(frame);
        let capacity = self.capacity(lane);
        let mut state = lock(&self.inbox.state);
        while state.unacknowledged[index(lane)] > capacity {
            state.check_stop(lane)?;
            state.check_peer(lane)?;
            state = self.inbox.wait(state);
        }
        Ok(())
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        self.side.check_receives(lane)?;
        let frame = self.next_frame(lane)?;
        let broken = |error| LinkError::Wire { lane, error };
        let (header, content) = match wire::read(&frame).map_err(broken)? {
            Frame::Message(header, content) => (header, content),
            // What lies in a lane is a message.
            Frame::Taken { .. } | Frame::Departed => return Err(LinkError::Empty { lane }),
        };
        let content = match content {
            Content::Payload(tensor) => {
                Content::Payload(T::read(tensor).map_err(|error| LinkError::Payload {
                    lane,
                    message: error.to_string(),
                })?)
            }
            Content::Void => Content::Void,
            Content::End => Content::End,
        };
        Ok(Message { header, content })
    }
}

impl<T> Drop for RemoteEnd<T> {
    fn drop(&mut self) {
        self.courier.post(wire::write_departed(self.place));
    }
}

impl<T> fmt::Debug for RemoteEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteEnd")
            .field("side", &self.side)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
