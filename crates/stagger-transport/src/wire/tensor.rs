//! The tensor of a frame: its sides, then its values in row-major order.

use std::error::Error;

use super::head::{HEAD_BYTES, Head, WireError};
use crate::link::LinkError;
use crate::message::Lane;
use crate::transport::Hop;

/// The most sides that a tensor on the wire has.
const MAX_SIDES: usize = 8;

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// 32 bits, as they are.
    #[default]
    F32,
    /// The upper 16 bits of them, rounded to the nearest, ties to even: half the traffic for 8 bits of precision.
    Bf16,
}

impl Format {
    /// The format of a hop, where this one is asked for.
    pub(crate) fn of(self, hop: Hop) -> Self {
        if hop.exact { Self::F32 } else { self }
    }

    fn code(self) -> u8 {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }

    fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// Why a tensor could not be brought to host memory, or back.
pub type PayloadError = Box<dyn Error + Send + Sync>;

/// A tensor that can leave its process.
pub trait Payload: Send + Sized + 'static {
    /// Calls `write` once, with the sides, outermost first, and the values, row-major.
    ///
    /// # Errors
    /// When the device that holds the tensor fails.
    fn with_values(&self, write: impl FnOnce(&[usize], &[f32])) -> Result<(), PayloadError>;

    /// The tensor of a frame.
    ///
    /// # Errors
    /// When it cannot be made.
    fn read(tensor: WireTensor<'_>) -> Result<Self, PayloadError>;
}

/// A tensor in a frame: checked, and not read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct WireTensor<'a> {
    /// Sides, outermost first.
    pub shape: Vec<usize>,
    format: Format,
    /// As many values as the shape has.
    bytes: &'a [u8],
}

impl WireTensor<'_> {
    /// Its values, row-major.
    pub fn values(&self) -> Vec<f32> {
        match self.format {
            Format::F32 => {
                let (values, _) = self.bytes.as_chunks();
                values
                    .iter()
                    .map(|&value| f32::from_le_bytes(value))
                    .collect()
            }
            Format::Bf16 => {
                let (values, _) = self.bytes.as_chunks::<2>();
                let widen = |&half| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16);
                values.iter().map(widen).collect()
            }
        }
    }
}

/// The nearest bf16, ties to even; NaN stays NaN.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let is_odd = (bits >> 16) & 1;
    ((bits + 0x7fff + is_odd) >> 16) as u16
}

/// Appends the bytes of values.
fn append<const BYTES: usize>(
    frame: &mut Vec<u8>,
    values: &[f32],
    bytes: impl Fn(f32) -> [u8; BYTES],
) {
    let from = frame.len();
    frame.resize(from + BYTES * values.len(), 0);
    let (places, _) = frame[from..].as_chunks_mut();
    for (place, &value) in places.iter_mut().zip(values) {
        *place = bytes(value);
    }
}

/// Writes a frame with a tensor.
pub(super) fn write<T: Payload>(
    mut head: Head,
    format: Format,
    tensor: &T,
    lane: Lane,
) -> Result<Vec<u8>, LinkError> {
    let failed = |message: String| LinkError::Payload { lane, message };
    let mut frame = Vec::new();
    let mut too_many = None;
    let written = tensor.with_values(|shape, values| {
        if shape.len() > MAX_SIDES {
            too_many = Some(shape.len());
            return;
        }
        head.format = format.code();
        head.sides = shape.len() as u8;
        let payload = values.len() * format.size_bytes();
        head.payload_bytes = payload as u64;
        frame.reserve_exact(HEAD_BYTES + size_of_val(shape) + payload);
        head.write(&mut frame);
        for &side in shape {
            frame.extend_from_slice(&(side as u64).to_le_bytes());
        }
        match format {
            Format::F32 => append(&mut frame, values, f32::to_le_bytes),
            Format::Bf16 => append(&mut frame, values, |value| bf16(value).to_le_bytes()),
        }
    });
    written.map_err(|error| failed(error.to_string()))?;
    match too_many {
        Some(sides) => Err(failed(format!(
            "a tensor of {sides} sides does not fit a frame, which holds {MAX_SIDES}"
        ))),
        None => Ok(frame),
    }
}

/// Finds the tensor behind a head.
pub(super) fn read<'a>(head: &Head, rest: &'a [u8]) -> Result<WireTensor<'a>, WireError> {
    let format = match head.format {
        1 => Format::F32,
        2 => Format::Bf16,
        found => {
            return Err(WireError::Field {
                field: "format",
                found: found.into(),
            });
        }
    };
    let sides = usize::from(head.sides);
    if sides > MAX_SIDES {
        return Err(WireError::Field {
            field: "number of sides",
            found: sides as u64,
        });
    }
    let length = |expected: u64| WireError::Length {
        expected: (HEAD_BYTES as u64).saturating_add(expected),
        found: (HEAD_BYTES + rest.len()) as u64,
    };
    let shape_bytes = sides * size_of::<u64>();
    let payload_bytes = head.payload_bytes;
    let whole_bytes = payload_bytes.saturating_add(shape_bytes as u64);
    if rest.len() as u64 != whole_bytes {
        return Err(length(whole_bytes));
    }
    let (shape, bytes) = rest.split_at(shape_bytes);
    let (shape, _) = shape.as_chunks();
    let shape = shape.iter().map(|&side| u64::from_le_bytes(side));
    let value_bytes = format.size_bytes() as u64;
    let needed = (shape.clone()).try_fold(value_bytes, |size, side| size.checked_mul(side));
    if needed != Some(payload_bytes) {
        return Err(WireError::Payload {
            expected: needed.unwrap_or(u64::MAX),
            found: payload_bytes,
        });
    }
    let side = |side| super::whole("side", side);
    Ok(WireTensor {
        shape: shape.map(side).collect::<Result<_, _>>()?,
        format,
        bytes,
    })
}
