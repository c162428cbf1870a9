//! Half-width numbers: one conversion serves every instruction set, so that all give the same bits.
//!
//! The one unsafe promise in here is that a [`Bf16`] is plain bytes, which lets slices of it be read as vectors.
#![allow(unsafe_code)]

use pulp::bytemuck::{self, Pod, Zeroable};
use pulp::{Scalar, Simd};

use super::element::{Element, lanes};

/// The upper half of an `f32`: 8 bits of exponent, 7 of mantissa.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

// SAFETY: a transparent wrapper of `u16`, for which zeros are a value.
unsafe impl Zeroable for Bf16 {}
// SAFETY: a transparent wrapper of `u16`: any bits are a value, there is no padding, and it is `Copy`.
unsafe impl Pod for Bf16 {}

/// The bits of the NaN that every NaN becomes.
const NAN: u32 = 0x7fc0_0000;
const UPPER: u32 = 0xffff_0000;

/// Vectors come in pairs: a pair's first has the values at even places of its stretch of memory, its second those at
/// odd places. Two values are the halves of a `u32`, so that neither way needs to move anything between lanes.
impl Element for Bf16 {
    const ZERO: Self = Self(0);

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let rounded = round(Scalar, value);
        let bits = if value.is_nan() { NAN } else { rounded };
        Self((bits >> 16) as u16)
    }

    #[inline(always)]
    fn load<S: Simd, const V: usize>(simd: S, values: &[Self]) -> [S::f32s; V] {
        let mut vectors = [simd.splat_f32s(0.0); V];
        if V == 1 {
            vectors[0] = bytemuck::cast(values[0].to_f32());
            return vectors;
        }
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let size = size_of::<S::f32s>();
        for pair in 0..V / 2 {
            let both: S::u32s = bytemuck::pod_read_unaligned(&bytes[pair * size..][..size]);
            let even = simd.wrapping_dyn_shl_u32s(both, simd.splat_u32s(16));
            let odd = simd.and_u32s(both, simd.splat_u32s(UPPER));
            vectors[2 * pair] = simd.transmute_f32s_u32s(even);
            vectors[2 * pair + 1] = simd.transmute_f32s_u32s(odd);
        }
        vectors
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(simd: S, vectors: [S::f32s; V], values: &mut [Self]) {
        if V == 1 {
            values[0] = Self((round(Scalar, bytemuck::cast(vectors[0])) >> 16) as u16);
            return;
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        let size = size_of::<S::f32s>();
        for pair in 0..V / 2 {
            let even = round(simd, vectors[2 * pair]);
            let even = simd.wrapping_dyn_shr_u32s(even, simd.splat_u32s(16));
            let odd = round(simd, vectors[2 * pair + 1]);
            let odd = simd.and_u32s(odd, simd.splat_u32s(UPPER));
            let both = simd.or_u32s(even, odd);
            bytes[pair * size..][..size].copy_from_slice(bytemuck::bytes_of(&both));
        }
    }

    #[inline(always)]
    fn load_singles<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
        let mut vectors = [simd.splat_f32s(0.0); V];
        if V == 1 {
            vectors[0] = quiet(simd, bytemuck::cast(values[0]));
            return vectors;
        }
        for pair in 0..V / 2 {
            let values = &values[2 * pair * lanes::<S>()..][..2 * lanes::<S>()];
            for parity in 0..2 {
                let vector = bytemuck::bytes_of_mut(&mut vectors[2 * pair + parity]);
                let vector: &mut [f32] = bytemuck::cast_slice_mut(vector);
                for lane in 0..lanes::<S>() {
                    vector[lane] = values[2 * lane + parity];
                }
                vectors[2 * pair + parity] = quiet(simd, vectors[2 * pair + parity]);
            }
        }
        vectors
    }

    #[inline(always)]
    fn store_singles<S: Simd, const V: usize>(simd: S, vectors: [S::f32s; V], values: &mut [f32]) {
        if V == 1 {
            f32::store(simd, vectors, values);
            return;
        }
        for pair in 0..V / 2 {
            let values = &mut values[2 * pair * lanes::<S>()..][..2 * lanes::<S>()];
            let even: &[f32] = bytemuck::cast_slice(bytemuck::bytes_of(&vectors[2 * pair]));
            let odd: &[f32] = bytemuck::cast_slice(bytemuck::bytes_of(&vectors[2 * pair + 1]));
            for lane in 0..lanes::<S>() {
                values[2 * lane] = even[lane];
                values[2 * lane + 1] = odd[lane];
            }
        }
    }
}

/// Bits whose upper half is the value rounded to the nearest, of two to the even one. A NaN's lower half must be zeros,
/// or it could carry over into the sign. Whatever formulas compute is so without a test: values from memory have no lower
/// half, parameters are made [`quiet`], and the NaN of an operation is one of its operands', or has zeros.
#[inline(always)]
fn round<S: Simd>(simd: S, value: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(value);
    let even = simd.and_u32s(
        simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)),
        simd.splat_u32s(1),
    );
    let half = simd.add_u32s(even, simd.splat_u32s(0x7fff));
    simd.add_u32s(bits, half)
}

/// The value, every NaN as one that [`round`] takes.
#[inline(always)]
fn quiet<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    let is_number = simd.equal_f32s(value, value);
    simd.select_f32s(is_number, value, simd.splat_f32s(f32::from_bits(NAN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bf16_survives() {
        for bits in 0..=u16::MAX {
            let value = Bf16(bits).to_f32();
            let back = Bf16::from_f32(value);
            if value.is_nan() {
                assert!(back.to_f32().is_nan());
            } else {
                assert_eq!(back, Bf16(bits));
            }
        }
    }

    #[test]
    fn rounds_to_nearest_even() {
        let rounded = |value: f32| Bf16::from_f32(value).to_f32();
        let step = 1.0 / 128.0;
        assert_eq!(rounded(1.0 + 0.5 * step), 1.0);
        assert_eq!(rounded(1.0 + 0.5 * step + f32::EPSILON), 1.0 + step);
        assert_eq!(rounded(1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(rounded(-1.0 - 1.5 * step), -1.0 - 2.0 * step);
        assert_eq!(rounded(f32::MAX), f32::INFINITY);
        assert_eq!(rounded(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(rounded(f32::from_bits(0x7f80_0001)).is_nan());
        assert!(rounded(f32::from_bits(0xffff_ffff)).is_nan());
        assert!(rounded(-0.0).is_sign_negative());
    }
}
