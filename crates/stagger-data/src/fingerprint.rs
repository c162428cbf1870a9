//! A fast 64-bit hash of a data set's content.

use crate::random::mix;

/// Hashes a sequence of fields; every field is closed by its length, so that moving a byte from
/// one field to the next changes the result. Not for security: collisions can be made on purpose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn number(mut self, value: u64) -> Self {
        self.0 = mix(self.0.rotate_left(5) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        // Four independent lanes, so that the multiplications overlap.
        let mut lanes = [self.0, 1, 2, 3];
        let mut blocks = bytes.chunks_exact(32);
        for block in &mut blocks {
            for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(8)) {
                let word = word
                    .iter()
                    .rev()
                    .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                *lane = (lane.rotate_left(23) ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            }
        }
        for lane in lanes {
            self = self.number(lane);
        }
        for &byte in blocks.remainder() {
            self = self.number(u64::from(byte));
        }
        self.number(bytes.len() as u64)
    }

    pub(crate) fn finish(self) -> u64 {
        mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        Fingerprint::default().bytes(bytes).finish()
    }

    #[test]
    fn every_byte_and_the_cut_between_fields_matter() {
        let bytes: Vec<u8> = (0..100).collect();
        let reference = of(&bytes);
        for i in 0..bytes.len() {
            let mut other = bytes.clone();
            other[i] ^= 0x80;
            assert_ne!(reference, of(&other), "byte {i}");
        }
        let cut = |at: usize| {
            Fingerprint::default()
                .bytes(&bytes[..at])
                .bytes(&bytes[at..])
                .finish()
        };
        assert_ne!(cut(40), cut(41));
        assert_ne!(of(&[]), of(&[0]));
    }
}
