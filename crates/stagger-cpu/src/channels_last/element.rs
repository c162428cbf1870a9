//! What slices may hold.

use pulp::{Simd, bytemuck};

pub use super::bf16::Bf16;

pub(super) mod sealed {
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

    /// `V` vectors of `f32` from as many values. Which value goes to which place is the type's own affair, the same in
    /// all four functions. `V` is even, or 1 where a vector is one value.
    #[doc(hidden)]
    fn load<S: Simd, const V: usize>(simd: S, values: &[Self]) -> [S::f32s; V];

    /// The reverse of [`Element::load`], rounding.
    #[doc(hidden)]
    fn store<S: Simd, const V: usize>(simd: S, vectors: [S::f32s; V], values: &mut [Self]);

    /// As [`Element::load`], from `f32`.
    #[doc(hidden)]
    fn load_singles<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V];

    /// The reverse of [`Element::load_singles`].
    #[doc(hidden)]
    fn store_singles<S: Simd, const V: usize>(simd: S, vectors: [S::f32s; V], values: &mut [f32]);
}

/// Values in a vector.
#[inline(always)]
pub(super) const fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
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
    fn load<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let size = size_of::<S::f32s>();
        let mut vectors = [simd.splat_f32s(0.0); V];
        for (index, vector) in vectors.iter_mut().enumerate() {
            *vector = bytemuck::pod_read_unaligned(&bytes[index * size..][..size]);
        }
        vectors
    }

    #[inline(always)]
    fn store<S: Simd, const V: usize>(_: S, vectors: [S::f32s; V], values: &mut [f32]) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        bytes.copy_from_slice(bytemuck::cast_slice(&vectors));
    }

    #[inline(always)]
    fn load_singles<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
        Self::load(simd, values)
    }

    #[inline(always)]
    fn store_singles<S: Simd, const V: usize>(simd: S, vectors: [S::f32s; V], values: &mut [f32]) {
        Self::store(simd, vectors, values);
    }
}
