//! Random streams keyed by what they are for, never by call order (docs/algorithm.md, "Semantics that are easy to get
//! wrong").

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream of (seed, purpose, name, batch): the same key gives the same numbers on every machine.
pub(crate) fn stream(seed: u64, purpose: &str, name: &str, batch: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a(purpose).to_le_bytes());
    key[16..24].copy_from_slice(&fnv1a(name).to_le_bytes());
    key[24..].copy_from_slice(&batch.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number from `[0, 1)` with 53 random bits.
pub(crate) fn unit(stream: &mut ChaCha8Rng) -> f64 {
    (stream.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// FNV-1a, 64 bits: spreads names over stream keys; fixed for ever, unlike the standard library's hashers.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The factors that a dropout layer multiplies its input with: 0 with the given probability, else
/// `1 / (1 − probability)`. A function of (seed, layer name, batch) alone, so that recomputing sees the mask of the
/// forward (docs/algorithm.md, "Semantics that are easy to get wrong").
pub fn dropout_mask(
    seed: u64,
    layer: &str,
    batch: usize,
    probability: f64,
    len: usize,
) -> Vec<f32> {
    let mut stream = stream(seed, "dropout", layer, batch as u64);
    let kept = (1.0 / (1.0 - probability)) as f32;
    // 32 random bits per element are enough to tell probabilities apart and cost half of 64.
    let threshold = (probability * 4_294_967_296.0) as u64;
    (0..len)
        .map(|_| {
            if u64::from(stream.next_u32()) < threshold {
                0.0
            } else {
                kept
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_depend_on_the_whole_key_and_on_nothing_else() {
        let mask = dropout_mask(1, "drop", 3, 0.25, 1000);
        assert_eq!(mask, dropout_mask(1, "drop", 3, 0.25, 1000));
        assert_eq!(
            mask[..10],
            dropout_mask(1, "drop", 3, 0.25, 10),
            "a shorter mask is a prefix"
        );
        for other in [
            dropout_mask(2, "drop", 3, 0.25, 1000),
            dropout_mask(1, "drop2", 3, 0.25, 1000),
            dropout_mask(1, "drop", 4, 0.25, 1000),
        ] {
            assert_ne!(mask, other);
        }
    }

    #[test]
    fn masks_keep_the_mean() {
        let mask = dropout_mask(7, "drop", 0, 0.25, 100_000);
        let mean = mask.iter().map(|&factor| f64::from(factor)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(
            dropout_mask(7, "drop", 0, 0.0, 1000)
                .iter()
                .all(|&factor| factor == 1.0)
        );
    }
}
