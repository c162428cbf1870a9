//! What slices may hold.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for super::Bf16 {}
}

/// A number as it lies in memory; arithmetic happens in `f32`.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// 0
    const ZERO: Self;

    /// The value, exactly.
    fn to_f32(self) -> f32;

    /// The nearest value, of two the even one; NaN stays NaN.
    fn from_f32(value: f32) -> Self;

    /// The values as `f32`: themselves, or written to `scratch`, which is as long.
    #[doc(hidden)]
    fn widen<'a>(values: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32];

    /// Lets `work` write all values as `f32`: to their place, or to `scratch`, which is at least as long.
    #[doc(hidden)]
    fn write(values: &mut [Self], scratch: &mut [f32], work: impl FnOnce(&mut [f32]));

    /// As [`Element::write`], but `work` finds the values there.
    #[doc(hidden)]
    fn change(values: &mut [Self], scratch: &mut [f32], work: impl FnOnce(&mut [f32]));
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn widen<'a>(values: &'a [Self], _: &'a mut [f32]) -> &'a [f32] {
        values
    }

    #[inline(always)]
    fn write(values: &mut [Self], _: &mut [f32], work: impl FnOnce(&mut [f32])) {
        work(values);
    }

    #[inline(always)]
    fn change(values: &mut [Self], _: &mut [f32], work: impl FnOnce(&mut [f32])) {
        work(values);
    }
}

/// The upper half of an `f32`: 8 bits of exponent, 7 of mantissa.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Element for Bf16 {
    const ZERO: Self = Self(0);

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Written without a branch, so that loops over it become vector instructions.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let even = (bits >> 16) & 1;
        let rounded = bits.wrapping_add(0x7fff + even);
        // Rounding could carry a NaN's mantissa over into infinity; a quiet one it cannot become by cutting off.
        let nan = bits | 0x0040_0000;
        let bits = if value.is_nan() { nan } else { rounded };
        Self((bits >> 16) as u16)
    }

    #[inline(always)]
    fn widen<'a>(values: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32] {
        let scratch = &mut scratch[..values.len()];
        for (wide, value) in scratch.iter_mut().zip(values) {
            *wide = value.to_f32();
        }
        scratch
    }

    #[inline(always)]
    fn write(values: &mut [Self], scratch: &mut [f32], work: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..values.len()];
        work(scratch);
        for (value, &wide) in values.iter_mut().zip(&*scratch) {
            *value = Self::from_f32(wide);
        }
    }

    #[inline(always)]
    fn change(values: &mut [Self], scratch: &mut [f32], work: impl FnOnce(&mut [f32])) {
        for (wide, value) in scratch.iter_mut().zip(&*values) {
            *wide = value.to_f32();
        }
        Self::write(values, scratch, work);
    }
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
