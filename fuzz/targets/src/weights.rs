//! Weights files: safetensors, and what torch.save writes.

use stagger::report::{decode_weights, encode_weights};

use crate::bounded;

/// Names of tensors and a few structures for each; an instruction of a pickle has one byte and makes a value of some 100.
const FACTOR: usize = 512;

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
