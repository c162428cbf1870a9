//! The fixed part of a frame.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Head {
    pub magic: [u8; 4],
    pub wire_version: U16,
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
    pub reserved: u8,
    pub stretch: U32,
    pub hop: U32,
    /// The micro-batch; or how many messages were taken.
    pub micro: U32,
    pub batch: U64,
    pub parameter_version: U64,
    /// Since the start of the run.
    pub sent_at_ns: U64,
    pub mark_version: U64,
    /// Of the values, after the sides.
    pub payload_bytes: U64,
}

pub(super) const HEAD_BYTES: usize = size_of::<Head>();

impl Head {
    pub fn new(place: Place, lane: Lane) -> Self {
        let lane = LANES.iter().position(|&other| other == lane);
        Self {
            magic: MAGIC,
            wire_version: WIRE_VERSION.into(),
            kind: PAYLOAD,
            lane: lane.unwrap_or_default() as u8,
            mark: NO_MARK,
            format: 0,
            sides: 0,
            reserved: 0,
            stretch: place.stretch.into(),
            hop: place.hop.into(),
            micro: 0.into(),
            batch: 0.into(),
            parameter_version: 0.into(),
            sent_at_ns: 0.into(),
            mark_version: 0.into(),
            payload_bytes: 0.into(),
        }
    }

    pub fn of_kind(mut self, kind: u8) -> Self {
        self.kind = kind;
        self
    }

    /// A frame that consists of the head alone.
    pub fn to_frame(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    pub fn read(frame: &[u8]) -> Result<Self, WireError> {
        let (head, _) = Self::read_from_prefix(frame).map_err(|_| WireError::Length {
            expected: HEAD_BYTES as u64,
            found: frame.len() as u64,
        })?;
        if head.magic != MAGIC {
            return Err(WireError::Magic { found: head.magic });
        }
        check_version(head.wire_version.get())?;
        if head.reserved != 0 {
            return Err(field("reserved byte", head.reserved));
        }
        Ok(head)
    }

    pub fn place(&self) -> Place {
        Place {
            stretch: self.stretch.get(),
            hop: self.hop.get(),
        }
    }

    pub fn lane(&self) -> Result<Lane, WireError> {
        let lane = LANES.get(usize::from(self.lane));
        lane.copied().ok_or(field("lane", self.lane))
    }

    pub fn mark(&self) -> Result<Option<Mark>, WireError> {
        let version = super::whole("mark's version", self.mark_version.get())?;
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
        if self.payload_bytes.get() != 0 || frame.len() != HEAD_BYTES {
            return Err(WireError::Length {
                expected: HEAD_BYTES as u64,
                found: (frame.len() as u64).saturating_add(self.payload_bytes.get()),
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

fn check_version(found: u16) -> Result<(), WireError> {
    if found == WIRE_VERSION {
        return Ok(());
    }
    Err(WireError::Version { found })
}

/// What every frame of the control lane begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ControlHead {
    magic: [u8; 4],
    wire_version: U16,
    reserved: U16,
    stretch: U32,
}

pub(super) fn control_frame(stretch: u32, body: &[u8]) -> Vec<u8> {
    let head = ControlHead {
        magic: CONTROL_MAGIC,
        wire_version: WIRE_VERSION.into(),
        reserved: 0.into(),
        stretch: stretch.into(),
    };
    [head.as_bytes(), body].concat()
}

/// The stretch of a control frame, and what follows its head.
pub(super) fn read_control(frame: &[u8]) -> Result<(u32, &[u8]), WireError> {
    let too_short = |_| WireError::Length {
        expected: size_of::<ControlHead>() as u64,
        found: frame.len() as u64,
    };
    let (head, body) = ControlHead::ref_from_prefix(frame).map_err(too_short)?;
    if head.magic != CONTROL_MAGIC {
        return Err(WireError::Magic { found: head.magic });
    }
    check_version(head.wire_version.get())?;
    match head.reserved.get() {
        0 => Ok((head.stretch.get(), body)),
        found => Err(WireError::Field {
            field: "reserved number",
            found: found.into(),
        }),
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
