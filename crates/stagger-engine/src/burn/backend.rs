//! The heavy operations of a Burn backend, with Burn's own as the default.

mod generic;

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;

use crate::layered::{
    Convolution, Normalization, NormalizationGrads, Normalized, ProductGrads, ProductWants,
    Subsample,
};

pub(crate) use generic::Generic;

/// What layers run on a Burn backend. Tensors are `[N, C, H, W]` in whatever memory order; a result must depend
/// on the values alone, not on that order, and must be the same bits every time.
///
/// The defaults compose Burn's operations, so an empty `impl` makes any backend an engine.
pub trait BurnKernels: Backend {
    /// Ends a step of the calling thread, an update or the evaluation of a batch: a backend that keeps memory for the
    /// next step lets go of what this one did not use.
    fn settle() {}

    /// Cross-correlation of `[N, C, H, W]` with `[O, C, k, k]`, plus a bias `[O]` if there is one.
    fn convolution(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        geometry: Convolution,
    ) -> FloatTensor<Self> {
        Generic::<Self>::convolution(input, weight, bias, geometry)
    }

    /// Gradients of [`BurnKernels::convolution`].
    fn convolution_backward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        geometry: Convolution,
        wants: ProductWants,
    ) -> ProductGrads<FloatTensor<Self>> {
        Generic::<Self>::convolution_backward(input, weight, output_grad, geometry, wants)
    }

    /// Batch normalisation with the statistics of the batch.
    fn normalize(
        input: FloatTensor<Self>,
        with: &Normalization<FloatTensor<Self>>,
    ) -> Normalized<FloatTensor<Self>> {
        Generic::<Self>::normalize(input, with)
    }

    /// Batch normalisation with given statistics, `[C]` each.
    fn normalize_by(
        input: FloatTensor<Self>,
        with: &Normalization<FloatTensor<Self>>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Generic::<Self>::normalize_by(input, with, mean, variance)
    }

    /// Gradients of [`BurnKernels::normalize`], whose `input` and `result` these are.
    fn normalize_backward(
        input: FloatTensor<Self>,
        result: Normalized<FloatTensor<Self>>,
        with: &Normalization<FloatTensor<Self>>,
        output_grad: FloatTensor<Self>,
    ) -> NormalizationGrads<FloatTensor<Self>> {
        Generic::<Self>::normalize_backward(input, result, with, output_grad)
    }

    /// Whether [`BurnKernels::normalize_backward`] reads the output; if not, layers do not keep it.
    fn normalize_backward_reads_output(with: &Normalization<FloatTensor<Self>>) -> bool {
        with.relu
    }

    /// `max(x, 0)`.
    fn relu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        Generic::<Self>::relu(input)
    }

    /// The gradient where the output is above 0, else 0.
    fn relu_backward(
        output: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Generic::<Self>::relu_backward(output, output_grad)
    }

    /// `a + b`, cut off at 0 if `relu`.
    fn sum(a: FloatTensor<Self>, b: FloatTensor<Self>, relu: bool) -> FloatTensor<Self> {
        Generic::<Self>::sum(a, b, relu)
    }

    /// `keep·a + gain·b`.
    fn blend(
        a: FloatTensor<Self>,
        keep: f64,
        b: FloatTensor<Self>,
        gain: f64,
    ) -> FloatTensor<Self> {
        Generic::<Self>::blend(a, keep, b, gain)
    }

    /// Every `stride`-th pixel, between zero channels.
    fn subsample(input: FloatTensor<Self>, geometry: Subsample) -> FloatTensor<Self> {
        Generic::<Self>::subsample(input, geometry)
    }

    /// Gradient of [`BurnKernels::subsample`] for an input of `[N, C, H, W]` = `shape`.
    fn subsample_backward(
        output_grad: FloatTensor<Self>,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> FloatTensor<Self> {
        Generic::<Self>::subsample_backward(output_grad, shape, geometry)
    }
}
