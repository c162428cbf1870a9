//! Messages as bytes: what a link writes for another process, and what it reads (docs/wire.md has the page of it).
//!
//! A frame is a head of fixed size, the sides of its tensor, and the tensor's values. All numbers are little-endian. Reading
//! trusts nothing: every field is checked before anything is allocated, and a frame that is longer or shorter than its head
//! says is refused.

mod head;
mod tensor;

use std::time::Duration;

use crate::link::LinkError;
use crate::message::{Content, Header, Lane, Mark, Message};
use head::{HEAD_BYTES, Head};

pub use head::{WIRE_VERSION, WireError};
pub use tensor::{Format, Payload, PayloadError, WireTensor};

/// Where a frame goes at the process that receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// The end of a hop, in one of the stretches of training that a process takes part in.
    Hop {
        /// The stretch: processes count them alike.
        stretch: u32,
        /// The number of the hop.
        hop: u32,
    },
    /// The control lane: of a stretch, or 0 for what is between stretches.
    Control {
        /// The stretch.
        stretch: u32,
    },
}

impl Address {
    /// The stretch it belongs to.
    pub fn stretch(self) -> u32 {
        match self {
            Self::Hop { stretch, .. } | Self::Control { stretch } => stretch,
        }
    }
}

/// What a frame of a hop carries.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    /// A message, whose tensor has not been read yet.
    Message(Header, Content<WireTensor<'a>>),
    /// The receiver has taken so many messages of a lane.
    Taken { lane: Lane, messages: u32 },
    /// The sender's end is gone.
    Departed,
}

/// Which hop a frame belongs to, and which stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub stretch: u32,
    pub hop: u32,
}

impl From<Place> for Address {
    fn from(Place { stretch, hop }: Place) -> Self {
        Self::Hop { stretch, hop }
    }
}

/// Writes a message, with its values in this format.
///
/// # Errors
/// When the tensor cannot be brought to host memory, or has more sides than a frame can name.
pub(crate) fn write_message<T: Payload>(
    place: Place,
    format: Format,
    message: &Message<T>,
) -> Result<Vec<u8>, LinkError> {
    let Header {
        lane,
        batch,
        micro,
        version,
        sent_at,
        mark,
    } = message.header;
    let head = Head {
        batch: batch as u64,
        // A micro-batch has a sample at least, and no batch has 2³² of them.
        micro: u32::try_from(micro).unwrap_or(u32::MAX),
        parameter_version: version as u64,
        sent_at_ns: u64::try_from(sent_at.as_nanos()).unwrap_or(u64::MAX),
        mark: match mark {
            None => head::NO_MARK,
            Some(Mark { halts: false, .. }) => head::SNAPSHOT_MARK,
            Some(Mark { halts: true, .. }) => head::HALT_MARK,
        },
        mark_version: mark.map_or(0, |mark| mark.version as u64),
        ..Head::new(place, lane)
    };
    match &message.content {
        Content::Payload(tensor) => tensor::write(head, format, tensor, lane),
        Content::Void => Ok(head.of_kind(head::VOID).to_frame()),
        Content::End => Ok(head.of_kind(head::END).to_frame()),
    }
}

/// Writes that so many messages of a lane have been taken.
pub(crate) fn write_taken(place: Place, lane: Lane, messages: u32) -> Vec<u8> {
    let head = Head {
        micro: messages,
        ..Head::new(place, lane)
    };
    head.of_kind(head::TAKEN).to_frame()
}

/// Writes that this end is gone.
pub(crate) fn write_departed(place: Place) -> Vec<u8> {
    let head = Head::new(place, Lane::Activation);
    head.of_kind(head::DEPARTED).to_frame()
}

/// Where a frame belongs; reads no more of it than that needs.
///
/// # Errors
/// When it is no frame of this version.
pub fn address(frame: &[u8]) -> Result<Address, WireError> {
    if frame.starts_with(&head::CONTROL_MAGIC) {
        let (stretch, _) = head::read_control(frame)?;
        return Ok(Address::Control { stretch });
    }
    Ok(Head::read(frame)?.place.into())
}

/// Puts a frame of the control lane of a stretch around bytes.
pub fn write_control(stretch: u32, body: &[u8]) -> Vec<u8> {
    head::control_frame(stretch, body)
}

/// The bytes that [`write_control`] was given.
///
/// # Errors
/// When it is no control frame of this version.
pub fn read_control(frame: &[u8]) -> Result<&[u8], WireError> {
    Ok(head::read_control(frame)?.1)
}

/// Reads a frame of a hop. Nothing is copied or allocated but the sides of a tensor.
///
/// # Errors
/// When a field has a value that no sender writes, or the length is not that of the head.
pub(crate) fn read(frame: &[u8]) -> Result<Frame<'_>, WireError> {
    let head = Head::read(frame)?;
    let lane = head.lane()?;
    let mark = head.mark()?;
    if head.kind != head::PAYLOAD {
        head.expect_no_tensor(frame)?;
    }
    let header = Header {
        lane,
        batch: whole("batch", head.batch)?,
        micro: whole("micro-batch", head.micro.into())?,
        version: whole("parameter version", head.parameter_version)?,
        sent_at: Duration::from_nanos(head.sent_at_ns),
        mark,
    };
    Ok(match head.kind {
        head::PAYLOAD => {
            let tensor = tensor::read(&head, &frame[HEAD_BYTES..])?;
            Frame::Message(header, Content::Payload(tensor))
        }
        head::VOID => Frame::Message(header, Content::Void),
        head::END => Frame::Message(header, Content::End),
        head::TAKEN => Frame::Taken {
            lane,
            messages: head.micro,
        },
        head::DEPARTED => Frame::Departed,
        found => {
            return Err(WireError::Field {
                field: "kind",
                found: found.into(),
            });
        }
    })
}

/// A number of the wire as an index.
fn whole(field: &'static str, found: u64) -> Result<usize, WireError> {
    usize::try_from(found).map_err(|_| WireError::Field { field, found })
}

/// Reads any frame of a hop, as a receiver does: for tests of foreign bytes.
///
/// # Errors
/// As a receiver.
pub fn check(frame: &[u8]) -> Result<(), WireError> {
    read(frame).map(drop)
}
