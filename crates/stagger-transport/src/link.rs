//! One end of a hop, and its protocol.

use crate::message::{Lane, Message};
use crate::wire::WireError;

/// One end of the hop between two neighbouring stages.
///
/// The protocol, the same for every transport:
/// - The lower end (of stage k) sends on [`Lane::Activation`] and [`Lane::Evaluation`] and receives
///   on [`Lane::Gradient`]; the upper end (of stage k+1) does the reverse.
/// - Each lane delivers every message exactly once, in the order of sending.
/// - `send` blocks until the lane has room for the message. A capacity of 0 is a rendezvous: `send` returns when the other
///   end has taken the message.
/// - While the upper end waits on [`Lane::Evaluation`] it also takes in activations. The stage
///   below sends activations that this stage consumes only after its evaluation, so with a small
///   forward queue the two would otherwise wait for each other. At most `m_k − m_{k+1}`
///   activations wait at the receiver then (docs/algorithm.md, "Facts" 4).
/// - When the run is stopped, every blocked call returns [`LinkError::Stopped`] at once.
pub trait Link<T>: Send {
    /// Sends a message on the lane its header names.
    ///
    /// # Errors
    /// [`LinkError::Stopped`] when the run stops first, [`LinkError::PeerGone`] when the other end
    /// no longer exists, [`LinkError::WrongDirection`] when this end does not send on that lane.
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError>;

    /// Takes the next message of a lane, waiting for it.
    ///
    /// # Errors
    /// As [`Link::send`]; [`LinkError::Empty`] from transports that never wait.
    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError>;
}

/// Which end of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// That of stage k.
    Lower,
    /// That of stage k+1.
    Upper,
}

impl Side {
    pub fn opposite(self) -> Self {
        match self {
            Side::Lower => Side::Upper,
            Side::Upper => Side::Lower,
        }
    }

    fn sends(self, lane: Lane) -> bool {
        (self == Side::Upper) == (lane == Lane::Gradient)
    }

    /// Makes sure that this end sends on a lane.
    pub fn check_sends(self, lane: Lane) -> Result<(), LinkError> {
        if self.sends(lane) {
            return Ok(());
        }
        Err(LinkError::WrongDirection { verb: "send", lane })
    }

    /// Makes sure that this end receives on a lane.
    pub fn check_receives(self, lane: Lane) -> Result<(), LinkError> {
        if !self.sends(lane) {
            return Ok(());
        }
        let verb = "receive";
        Err(LinkError::WrongDirection { verb, lane })
    }
}

/// Why a link did not carry a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The run is stopping: another stage failed.
    #[error("the run is stopping")]
    Stopped,
    /// The neighbour has dropped its end.
    #[error("the neighbouring stage is gone: its end of the {lane} lane is closed")]
    PeerGone {
        /// The lane that was used.
        lane: Lane,
    },
    /// This end does not send, or does not receive, on that lane.
    #[error("this end of the link does not {verb} on the {lane} lane")]
    WrongDirection {
        /// `send` or `receive`.
        verb: &'static str,
        /// The lane that was asked for.
        lane: Lane,
    },
    /// A transport that never waits has nothing to deliver.
    #[error("nothing to receive on the {lane} lane")]
    Empty {
        /// The lane that was asked for.
        lane: Lane,
    },
    /// A frame is not one of this program's.
    #[error("on the {lane} lane {error}")]
    Wire {
        /// The lane that was used.
        lane: Lane,
        /// What is wrong with the frame.
        #[source]
        error: WireError,
    },
    /// A tensor could not be brought to bytes, or be made of them.
    #[error("a tensor of the {lane} lane cannot cross to another process: {message}")]
    Payload {
        /// The lane that was used.
        lane: Lane,
        /// Why.
        message: String,
    },
}
