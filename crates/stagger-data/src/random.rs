//! Keyed random streams.
//!
//! Every random choice of this crate is drawn from a stream whose key is (seed, purpose, a, b):
//! what the number is for, and which epoch, sample or image it is for. Results therefore never
//! depend on the order of calls, on threads or on the platform. The generator is SplitMix64
//! (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) started at
//! a state that is itself a SplitMix64 hash chain over the key.

/// What a stream is used for; streams of different purposes share no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Shuffle = 1,
    Augment = 2,
    DrawTraining = 3,
    DrawTest = 4,
    SetAside = 5,
    Content = 6,
    ResizedCrop = 7,
    ColorJitter = 8,
    RandAugment = 9,
    Erasing = 10,
    Mixing = 11,
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64: a bijection of u64 in which every input bit reaches every
/// output bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A deterministic stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of key (seed, purpose, a, b).
    pub(crate) fn new(seed: u64, purpose: Purpose, a: u64, b: u64) -> Self {
        let mut state = mix(seed.wrapping_add(GAMMA));
        for part in [purpose as u64, a, b] {
            state = mix(state.wrapping_add(GAMMA) ^ mix(part.wrapping_add(GAMMA)));
        }
        Self(state)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Uniform in 0..bound without bias (Lemire, "Fast Random Integer Generation in an Interval",
    /// ACM TOMACS 2019). `bound` must not be 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0);
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴, hence exact in f32.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub(crate) fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A point of the unit circle, uniform in angle, by rejection from the square: needs only
    /// operations that IEEE 754 rounds exactly, unlike sine and cosine.
    pub(crate) fn direction(&mut self) -> [f32; 2] {
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.01 && square <= 1.0 {
                let length = square.sqrt();
                return [x / length, y / length];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_for_ever() {
        let mut stream = Stream::new(1, Purpose::Shuffle, 2, 3);
        let drawn: Vec<u64> = (0..3).map(|_| stream.next_u64()).collect();
        let again: Vec<u64> = {
            let mut stream = Stream::new(1, Purpose::Shuffle, 2, 3);
            (0..3).map(|_| stream.next_u64()).collect()
        };
        assert_eq!(drawn, again);
        // The published output of SplitMix64 from state 0.
        let mut zero = Stream(0);
        assert_eq!(zero.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(zero.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |seed, purpose, a, b| Stream::new(seed, purpose, a, b).next_u64();
        let reference = first(1, Purpose::Shuffle, 2, 3);
        assert_ne!(reference, first(2, Purpose::Shuffle, 2, 3));
        assert_ne!(reference, first(1, Purpose::Augment, 2, 3));
        assert_ne!(reference, first(1, Purpose::Shuffle, 3, 2));
        assert_ne!(reference, first(1, Purpose::Shuffle, 2, 4));
    }

    #[test]
    fn bounded_numbers_cover_their_range_evenly() {
        let mut stream = Stream::new(7, Purpose::Augment, 0, 0);
        let mut counts = [0usize; 9];
        for _ in 0..90_000 {
            counts[stream.below(9) as usize] += 1;
        }
        for count in counts {
            assert!((9_600..10_400).contains(&count), "{counts:?}");
        }
        assert_eq!(stream.below(1), 0);
    }

    #[test]
    fn directions_have_unit_length_and_no_preferred_side() {
        let mut stream = Stream::new(7, Purpose::Augment, 1, 0);
        let mut sum = [0.0f32; 2];
        for _ in 0..10_000 {
            let [x, y] = stream.direction();
            assert!((x * x + y * y - 1.0).abs() < 1e-6);
            sum = [sum[0] + x, sum[1] + y];
        }
        assert!(sum[0].abs() < 400.0 && sum[1].abs() < 400.0, "{sum:?}");
    }
}
