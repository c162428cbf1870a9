//! Batch normalisation, forward: `(x − mean)·γ/√(variance + ε) + β`, with what follows it.

use std::ops::Range;

use pulp::Simd;

use super::element::Element;
use super::elementwise::cut_off;
use super::formula::{Binary, Formula, Unary, binary, unary};
use super::parallel::Parallel;
use super::rows::{Aligned, Rows};

/// What forward and backward compute the output from. Both do it by the same operations in the same order, so that the
/// ReLU cuts off the same elements.
#[derive(Clone, Debug)]
pub struct Affine {
    pub(super) rows: Rows,
    /// Each value once per position of a row, as the next two.
    pub(super) mean: Aligned,
    /// γ / √(variance + ε)
    pub(super) factor: Aligned,
    /// β
    pub(super) shift: Aligned,
    /// 1 / (variance + ε), by channel.
    pub(super) inverse: Vec<f64>,
}

impl Affine {
    /// From mean, variance, γ (`scale`) and β (`shift`) of each channel.
    ///
    /// # Panics
    /// When there are no channels, or lengths differ.
    pub fn new(mean: &[f32], variance: &[f32], scale: &[f32], shift: &[f32], epsilon: f64) -> Self {
        let channels = mean.len();
        let lengths = [variance.len(), scale.len(), shift.len()];
        assert_eq!(lengths, [channels; 3], "one value per channel");
        let rows = Rows::of(channels);
        let spread = |&variance: &f32| f64::from(variance) + epsilon;
        let factors = scale
            .iter()
            .zip(variance)
            .map(|(&scale, variance)| (f64::from(scale) / spread(variance).sqrt()) as f32);
        Self {
            rows,
            mean: rows.repeat(mean.iter().copied()),
            factor: rows.repeat(factors),
            shift: rows.repeat(shift.iter().copied()),
            inverse: variance
                .iter()
                .map(|variance| 1.0 / spread(variance))
                .collect(),
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.rows.channels()
    }

    pub(super) fn row(&self) -> AffineRow<'_> {
        AffineRow {
            mean: &self.mean,
            factor: &self.factor,
            shift: &self.shift,
        }
    }
}

/// `(x − mean)·factor + shift`, cut off at 0 if `relu`.
///
/// # Panics
/// When lengths differ.
pub fn normalize<T: Element>(
    input: Unary<'_, T>,
    affine: &Affine,
    relu: bool,
    parallel: &dyn Parallel,
) {
    let row = affine.row();
    if relu {
        unary(Normalize::<true>(row), input, parallel);
    } else {
        unary(Normalize::<false>(row), input, parallel);
    }
}

/// `(x − mean)·factor + shift + addend`, cut off at 0 if `relu`; `x` is left, the addend right.
///
/// # Panics
/// When lengths differ.
pub fn normalize_add<T: Element>(
    input_and_addend: Binary<'_, T>,
    affine: &Affine,
    relu: bool,
    parallel: &dyn Parallel,
) {
    let row = affine.row();
    if relu {
        binary(NormalizeAdd::<true>(row), input_and_addend, parallel);
    } else {
        binary(NormalizeAdd::<false>(row), input_and_addend, parallel);
    }
}

/// The slices of an [`Affine`].
#[derive(Clone, Copy)]
pub(super) struct AffineRow<'a> {
    mean: &'a [f32],
    factor: &'a [f32],
    shift: &'a [f32],
}

impl AffineRow<'_> {
    pub(super) fn len(&self) -> usize {
        self.mean.len()
    }

    #[inline(always)]
    pub(super) fn narrow(self, positions: Range<usize>) -> Self {
        Self {
            mean: &self.mean[positions.clone()],
            factor: &self.factor[positions.clone()],
            shift: &self.shift[positions],
        }
    }

    /// `x − mean`
    #[inline(always)]
    pub(super) fn centred<S: Simd>(&self, simd: S, vector: usize, value: S::f32s) -> S::f32s {
        simd.sub_f32s(value, S::as_simd_f32s(self.mean).0[vector])
    }

    /// γ / √(variance + ε)
    #[inline(always)]
    pub(super) fn factor<S: Simd>(&self, _: S, vector: usize) -> S::f32s {
        S::as_simd_f32s(self.factor).0[vector]
    }

    /// The output, from `x − mean`.
    #[inline(always)]
    pub(super) fn output<S: Simd>(&self, simd: S, vector: usize, centred: S::f32s) -> S::f32s {
        let scaled = simd.mul_f32s(centred, self.factor(simd, vector));
        simd.add_f32s(scaled, S::as_simd_f32s(self.shift).0[vector])
    }
}

#[derive(Clone, Copy)]
struct Normalize<'a, const RELU: bool>(AffineRow<'a>);

impl<const RELU: bool> Formula<1> for Normalize<'_, RELU> {
    fn row(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn narrow(self, positions: Range<usize>) -> Self {
        Self(self.0.narrow(positions))
    }

    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, vector: usize, [value]: [S::f32s; 1]) -> S::f32s {
        let centred = self.0.centred(simd, vector, value);
        let output = self.0.output(simd, vector, centred);
        if RELU { cut_off(simd, output) } else { output }
    }
}

#[derive(Clone, Copy)]
struct NormalizeAdd<'a, const RELU: bool>(AffineRow<'a>);

impl<const RELU: bool> Formula<2> for NormalizeAdd<'_, RELU> {
    fn row(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn narrow(self, positions: Range<usize>) -> Self {
        Self(self.0.narrow(positions))
    }

    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, vector: usize, [value, addend]: [S::f32s; 2]) -> S::f32s {
        let centred = self.0.centred(simd, vector, value);
        let output = simd.add_f32s(self.0.output(simd, vector, centred), addend);
        if RELU { cut_off(simd, output) } else { output }
    }
}
