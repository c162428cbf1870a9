//! Batch normalisation, forward: `(x − mean)·γ/√(variance + ε) + β`, with what follows it.

use pulp::Simd;

use super::element::Element;
use super::elementwise::cut_off;
use super::formula::{Binary, Unary, binary, unary};
use super::parallel::Parallel;
use super::rows::Rows;
use super::walk::Formula;

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

    /// As [`Normal`] takes them.
    pub(super) fn parameters(&self) -> [&[f32]; 3] {
        [&self.mean, &self.factor, &self.shift]
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
    let (rows, parameters) = (affine.rows, affine.parameters());
    if relu {
        unary(Normalize::<true>, rows, parameters, input, parallel);
    } else {
        unary(Normalize::<false>, rows, parameters, input, parallel);
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
    let (rows, parameters) = (affine.rows, affine.parameters());
    if relu {
        binary(
            NormalizeAdd::<true>,
            rows,
            parameters,
            input_and_addend,
            parallel,
        );
    } else {
        binary(
            NormalizeAdd::<false>,
            rows,
            parameters,
            input_and_addend,
            parallel,
        );
    }
}

/// The parameters of an [`Affine`] at some positions.
#[derive(Clone, Copy)]
pub(super) struct Normal<S: Simd> {
    simd: S,
    mean: S::f32s,
    /// γ / √(variance + ε)
    pub(super) factor: S::f32s,
    shift: S::f32s,
}

impl<S: Simd> Normal<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, [mean, factor, shift]: [S::f32s; 3]) -> Self {
        Self {
            simd,
            mean,
            factor,
            shift,
        }
    }

    /// `x − mean`
    #[inline(always)]
    pub(super) fn centred(self, value: S::f32s) -> S::f32s {
        self.simd.sub_f32s(value, self.mean)
    }

    /// The output, from `x − mean`.
    #[inline(always)]
    pub(super) fn output(self, centred: S::f32s) -> S::f32s {
        let scaled = self.simd.mul_f32s(centred, self.factor);
        self.simd.add_f32s(scaled, self.shift)
    }
}

#[derive(Clone, Copy)]
struct Normalize<const RELU: bool>;

impl<const RELU: bool> Formula<0, 3, 0> for Normalize<RELU> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; 3],
        value: S::f32s,
        []: [S::f32s; 0],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let normal = Normal::new(simd, parameters);
        let output = normal.output(normal.centred(value));
        if RELU { cut_off(simd, output) } else { output }
    }
}

#[derive(Clone, Copy)]
struct NormalizeAdd<const RELU: bool>;

impl<const RELU: bool> Formula<1, 3, 0> for NormalizeAdd<RELU> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; 3],
        value: S::f32s,
        [addend]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let normal = Normal::new(simd, parameters);
        let output = simd.add_f32s(normal.output(normal.centred(value)), addend);
        if RELU { cut_off(simd, output) } else { output }
    }
}
