//! The fixed part of a frame.

use super::Place;
use crate::message::{Lane, Mark};

/// The version of the format. Processes of one run have to agree on it.
pub const WIRE_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"STGR";
pub(super) const CONTROL_MAGIC: [u8; 4] = *b"STGC";

/// Values of [`Head::kind`].
pub(super) const PAYLOAD: u8 = 0;
pub(super) const VOID: u8 = 1;
pub(super) const END: u8 = 2;
pub(super) const TAKEN: u8 = 3;
pub(super) const DEPARTED: u8 = 4;

/// Values of [`Head::mark`].
pub(super) const NO_MARK: u8 = 0;
pub(super) const SNAPSHOT_MARK: u8 = 1;
pub(super) const HALT_MARK: u8 = 2;

const LANES: [Lane; 3] = [Lane::Activation, Lane::Gradient, Lane::Evaluation];

/// What every frame of a hop begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// What follows: see the constants.
    pub kind: u8,
    /// An index of [`LANES`].
    pub lane: u8,
    /// What stage 0 announces.
    pub mark: u8,
    /// Of the values: see [`Format`](super::Format); 0 without a tensor.
    pub format: u8,
    /// Sides of the tensor.
    pub sides: u8,
    pub place: Place,
    /// The micro-batch; or how many messages were taken.
    pub micro: u32,
    pub batch: u64,
    pub parameter_version: u64,
    /// Since the start of the run.
    pub sent_at_ns: u64,
    pub mark_version: u64,
    /// Of the values, after the sides.
    pub payload_bytes: u64,
}

pub(super) const HEAD_BYTES: usize = 64;

impl Head {
    pub fn new(place: Place, lane: Lane) -> Self {
        let lane = LANES.iter().position(|&other| other == lane);
        Self {
            kind: PAYLOAD,
            lane: lane.unwrap_or_default() as u8,
            mark: NO_MARK,
            format: 0,
            sides: 0,
            place,
            micro: 0,
            batch: 0,
            parameter_version: 0,
            sent_at_ns: 0,
            mark_version: 0,
            payload_bytes: 0,
        }
    }

    pub fn of_kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    pub fn write(&self, frame: &mut Vec<u8>) {
        frame.extend(MAGIC);
        frame.extend(WIRE_VERSION.to_le_bytes());
        frame.extend([self.kind, self.lane, self.mark, self.format, self.sides, 0]);
        for number in [self.place.stretch, self.place.hop, self.micro] {
            frame.extend(number.to_le_bytes());
        }
        for number in [
            self.batch,
            self.parameter_version,
            self.sent_at_ns,
            self.mark_version,
            self.payload_bytes,
        ] {
            frame.extend(number.to_le_bytes());
        }
    }

    /// A frame that consists of the head alone.
    pub fn to_frame(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(HEAD_BYTES);
        self.write(&mut frame);
        frame
    }

    pub fn read(frame: &[u8]) -> Result<Self, WireError> {
        let Some(head) = frame.first_chunk::<HEAD_BYTES>() else {
            return Err(too_short(HEAD_BYTES, frame));
        };
        let (prefix, rest) = head.split_at(6);
        check_prefix(prefix, MAGIC)?;
        let (bytes, rest) = rest.split_at(6);
        let (words, longs) = rest.split_at(12);
        let word = |index: usize| u32::from_le_bytes(words.as_chunks().0[index]);
        let long = |index: usize| u64::from_le_bytes(longs.as_chunks().0[index]);
        if bytes[5] != 0 {
            return Err(field("reserved byte", bytes[5]));
        }
        Ok(Self {
            kind: bytes[0],
            lane: bytes[1],
            mark: bytes[2],
            format: bytes[3],
            sides: bytes[4],
            place: Place {
                stretch: word(0),
                hop: word(1),
            },
            micro: word(2),
            batch: long(0),
            parameter_version: long(1),
            sent_at_ns: long(2),
            mark_version: long(3),
            payload_bytes: long(4),
        })
    }

    pub fn lane(&self) -> Result<Lane, WireError> {
        let lane = LANES.get(usize::from(self.lane));
        lane.copied().ok_or(field("lane", self.lane))
    }

    pub fn mark(&self) -> Result<Option<Mark>, WireError> {
        let version = super::whole("mark's version", self.mark_version)?;
        let halts = match self.mark {
            NO_MARK => return Ok(None),
            SNAPSHOT_MARK => false,
            HALT_MARK => true,
            found => return Err(field("mark", found)),
        };
        Ok(Some(Mark { version, halts }))
    }

    /// Makes sure that the frame ends with its head.
    pub fn expect_no_tensor(&self, frame: &[u8]) -> Result<(), WireError> {
        for (name, found) in [("format", self.format), ("number of sides", self.sides)] {
            if found != 0 {
                return Err(field(name, found));
            }
        }
        if self.payload_bytes != 0 || frame.len() != HEAD_BYTES {
            return Err(WireError::Length {
                expected: HEAD_BYTES as u64,
                found: (frame.len() as u64).saturating_add(self.payload_bytes),
            });
        }
        Ok(())
    }
}

fn field(field: &'static str, found: u8) -> WireError {
    WireError::Field {
        field,
        found: found.into(),
    }
}

/// Checks magic and version.
fn check_prefix(prefix: &[u8], magic: [u8; 4]) -> Result<(), WireError> {
    let (found, version) = (prefix[..4].try_into(), prefix[4..6].try_into());
    let (Ok(found), Ok(version)) = (found, version) else {
        return Err(too_short(6, prefix));
    };
    if found != magic {
        return Err(WireError::Magic { found });
    }
    match u16::from_le_bytes(version) {
        WIRE_VERSION => Ok(()),
        found => Err(WireError::Version { found }),
    }
}

/// Bytes that every frame of the control lane begins with.
const CONTROL_HEAD_BYTES: usize = 12;

pub(super) fn control_frame(stretch: u32, body: &[u8]) -> Vec<u8> {
    let version = WIRE_VERSION.to_le_bytes();
    [
        &CONTROL_MAGIC,
        &version[..],
        &[0; 2],
        &stretch.to_le_bytes(),
        body,
    ]
    .concat()
}

/// The stretch of a control frame, and what follows its head.
pub(super) fn read_control(frame: &[u8]) -> Result<(u32, &[u8]), WireError> {
    let Some((head, body)) = frame.split_first_chunk::<CONTROL_HEAD_BYTES>() else {
        return Err(too_short(CONTROL_HEAD_BYTES, frame));
    };
    check_prefix(&head[..6], CONTROL_MAGIC)?;
    let [.., low, high, a, b, c, d] = *head;
    match u16::from_le_bytes([low, high]) {
        0 => Ok((u32::from_le_bytes([a, b, c, d]), body)),
        found => Err(WireError::Field {
            field: "reserved number",
            found: found.into(),
        }),
    }
}

fn too_short(expected: usize, frame: &[u8]) -> WireError {
    WireError::Length {
        expected: expected as u64,
        found: frame.len() as u64,
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is not from this program.
    #[error("a frame begins with the bytes {found:02x?}, which are not stagger's")]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// It is from another build.
    #[error("a frame has version {found} of the wire format, and this program has {WIRE_VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// It is longer or shorter than its head says.
    #[error("a frame of {found} bytes came where its head needs {expected}")]
    Length {
        /// By its head.
        expected: u64,
        /// Its bytes.
        found: u64,
    },
    /// A field has a value that no sender writes.
    #[error("a frame has the {field} {found}, which does not exist")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// Shape and number of bytes differ.
    #[error("a frame's tensor has {found} bytes, and its shape needs {expected}")]
    Payload {
        /// By the shape.
        expected: u64,
        /// By the head.
        found: u64,
    },
}
