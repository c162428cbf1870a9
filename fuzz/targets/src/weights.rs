//! Weights files in the safetensors format.

use stagger::report::{decode_weights, encode_weights};

use crate::bounded;

/// Names of tensors and a few structures for each; the shortest entry of a header has some 50 bytes.
const FACTOR: usize = 64;

/// Checks one input.
pub fn check(data: &[u8]) {
    if let Ok(weights) = bounded(data, FACTOR, || decode_weights(data)) {
        // Bytes are compared, as NaN differs from itself.
        let bytes = encode_weights(&weights).unwrap();
        let again = decode_weights(&bytes).unwrap();
        assert_eq!(again.metadata, weights.metadata);
        assert_eq!(encode_weights(&again).unwrap(), bytes);
    }
}
