//! Batch normalisation, forward: `(x − mean)·γ/√(variance + ε) + β`, with what follows it.

use super::element::Element;
use super::elementwise::cut_off;
use super::formula::{Binary, Formula, Unary, binary, unary};
use super::parallel::Parallel;
use super::rows::Rows;

/// What forward and backward compute the output from. Both do it by the same operations in the same order, so that the
/// ReLU cuts off the same elements.
#[derive(Clone, Debug)]
pub struct Affine {
    pub(super) rows: Rows,
    /// Each value once per position of a row, as the next two.
    pub(super) mean: Vec<f32>,
    /// γ / √(variance + ε)
    pub(super) factor: Vec<f32>,
    /// β
    pub(super) shift: Vec<f32>,
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
    pub(super) fn narrow(self, len: usize) -> Self {
        Self {
            mean: &self.mean[..len],
            factor: &self.factor[..len],
            shift: &self.shift[..len],
        }
    }

    /// `x − mean`
    #[inline(always)]
    pub(super) fn centred(&self, index: usize, value: f32) -> f32 {
        value - self.mean[index]
    }

    /// γ / √(variance + ε)
    #[inline(always)]
    pub(super) fn factor(&self, index: usize) -> f32 {
        self.factor[index]
    }

    /// The output, from `x − mean`.
    #[inline(always)]
    pub(super) fn output(&self, index: usize, centred: f32) -> f32 {
        centred * self.factor[index] + self.shift[index]
    }
}

#[derive(Clone, Copy)]
struct Normalize<'a, const RELU: bool>(AffineRow<'a>);

impl<const RELU: bool> Formula<1> for Normalize<'_, RELU> {
    fn row(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn narrow(self, len: usize) -> Self {
        Self(self.0.narrow(len))
    }

    #[inline(always)]
    fn at(&self, index: usize, [value]: [f32; 1]) -> f32 {
        let output = self.0.output(index, self.0.centred(index, value));
        if RELU { cut_off(output) } else { output }
    }
}

#[derive(Clone, Copy)]
struct NormalizeAdd<'a, const RELU: bool>(AffineRow<'a>);

impl<const RELU: bool> Formula<2> for NormalizeAdd<'_, RELU> {
    fn row(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn narrow(self, len: usize) -> Self {
        Self(self.0.narrow(len))
    }

    #[inline(always)]
    fn at(&self, index: usize, [value, addend]: [f32; 2]) -> f32 {
        let output = self.0.output(index, self.0.centred(index, value)) + addend;
        if RELU { cut_off(output) } else { output }
    }
}
