//! The heavy operations, with Burn's own as the default.

mod generic;

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;

pub(crate) use generic::Generic;

/// Geometry of a square convolution without dilation or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Step between two outputs, in pixels.
    pub stride: usize,
    /// Zeros on each side, in pixels.
    pub padding: usize,
}

/// Gradients of a convolution.
#[derive(Clone, Debug)]
pub struct ConvolutionGrads<B: Backend> {
    /// Of the input, if it was asked for.
    pub input: Option<FloatTensor<B>>,
    /// Of the weight, `[out, in, kernel, kernel]`.
    pub weight: FloatTensor<B>,
    /// Of the bias, `[out]`, if it was asked for.
    pub bias: Option<FloatTensor<B>>,
}

/// Which gradients of a convolution are wanted, besides that of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionWants {
    /// That of the input.
    pub input: bool,
    /// That of the bias.
    pub bias: bool,
}

/// The parameters of a batch normalisation, with or without a ReLU after it.
#[derive(Clone, Debug)]
pub struct Normalization<B: Backend> {
    /// Scale γ, `[C]`.
    pub scale: FloatTensor<B>,
    /// Shift β, `[C]`.
    pub shift: FloatTensor<B>,
    /// Added to the variance before the square root.
    pub epsilon: f64,
    /// Whether the output is cut off at 0.
    pub relu: bool,
}

/// Output and statistics of a batch normalisation.
#[derive(Clone, Debug)]
pub struct Normalized<B: Backend> {
    /// `[N, C, H, W]`.
    pub output: FloatTensor<B>,
    /// Batch mean, `[C]`.
    pub mean: FloatTensor<B>,
    /// Biased batch variance, `[C]`.
    pub variance: FloatTensor<B>,
}

/// Gradients of a batch normalisation.
#[derive(Clone, Debug)]
pub struct NormalizationGrads<B: Backend> {
    /// Of the input, `[N, C, H, W]`.
    pub input: FloatTensor<B>,
    /// Of the scale, `[C]`.
    pub scale: FloatTensor<B>,
    /// Of the shift, `[C]`.
    pub shift: FloatTensor<B>,
}

/// Geometry of `x[:, :, ::stride, ::stride]` with zero channels around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// Step between the pixels that are kept.
    pub stride: usize,
    /// Zero channels before, and as many after.
    pub padding: usize,
}

/// What layers call for their heavy work. Tensors are `[N, C, H, W]` in whatever memory order; a result must depend
/// on the values alone, not on that order, and must be the same bits every time.
///
/// The defaults compose Burn's operations, so an empty `impl` makes any backend an engine.
pub trait Kernels: Backend {
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

    /// Gradients of [`Kernels::convolution`].
    fn convolution_backward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        geometry: Convolution,
        wants: ConvolutionWants,
    ) -> ConvolutionGrads<Self> {
        Generic::<Self>::convolution_backward(input, weight, output_grad, geometry, wants)
    }

    /// Batch normalisation with the statistics of the batch.
    fn normalize(input: FloatTensor<Self>, with: &Normalization<Self>) -> Normalized<Self> {
        Generic::<Self>::normalize(input, with)
    }

    /// Batch normalisation with given statistics, `[C]` each.
    fn normalize_by(
        input: FloatTensor<Self>,
        with: &Normalization<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Generic::<Self>::normalize_by(input, with, mean, variance)
    }

    /// Gradients of [`Kernels::normalize`], whose `input` and `result` these are.
    fn normalize_backward(
        input: FloatTensor<Self>,
        result: Normalized<Self>,
        with: &Normalization<Self>,
        output_grad: FloatTensor<Self>,
    ) -> NormalizationGrads<Self> {
        Generic::<Self>::normalize_backward(input, result, with, output_grad)
    }

    /// Whether [`Kernels::normalize_backward`] reads the output; if not, layers do not keep it.
    fn normalize_backward_reads_output(with: &Normalization<Self>) -> bool {
        with.relu
    }

    /// `max(x, 0)`.
    fn rectify(input: FloatTensor<Self>) -> FloatTensor<Self> {
        Generic::<Self>::rectify(input)
    }

    /// The gradient where the output is above 0, else 0.
    fn rectify_backward(
        output: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Generic::<Self>::rectify_backward(output, output_grad)
    }

    /// `a + b`, cut off at 0 if `relu`.
    fn sum(a: FloatTensor<Self>, b: FloatTensor<Self>, relu: bool) -> FloatTensor<Self> {
        Generic::<Self>::sum(a, b, relu)
    }

    /// Every `stride`-th pixel, between zero channels.
    fn subsample(input: FloatTensor<Self>, geometry: Subsample) -> FloatTensor<Self> {
        Generic::<Self>::subsample(input, geometry)
    }

    /// Gradient of [`Kernels::subsample`] for an input of `[N, C, H, W]` = `shape`.
    fn subsample_backward(
        output_grad: FloatTensor<Self>,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> FloatTensor<Self> {
        Generic::<Self>::subsample_backward(output_grad, shape, geometry)
    }
}
