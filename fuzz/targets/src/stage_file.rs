//! Files of a snapshot's stages: safetensors with an index of what is in flight.

use stagger::report::snapshot::{decode_stage, encode_stage};

use crate::bounded;

/// As for a weights file.
const FACTOR: usize = 64;

/// Checks one input.
pub fn check(data: &[u8]) {
    if let Ok(snapshot) = bounded(data, FACTOR, || decode_stage(data)) {
        // Bytes are compared, as NaN differs from itself.
        let bytes = encode_stage(&snapshot).unwrap();
        let again = decode_stage(&bytes).unwrap();
        assert_eq!(encode_stage(&again).unwrap(), bytes);
    }
}
