//! What layers call for their work: the seam between the layers and a tensor library.

use std::fmt::Debug;

use crate::error::EngineError;
use crate::optimizer::Optimizer;
use crate::precision::Precision;
use crate::tensor::HostTensor;

/// Geometry of a square convolution without dilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Step between two outputs, in pixels.
    pub stride: usize,
    /// Zeros on each side, in pixels.
    pub padding: usize,
    /// Runs of channels that do not mix, at least 1; a divisor of the channels of input and output. Output channel `o` of `O` sums up
    /// run `o / (O / groups)` of the input's.
    pub groups: usize,
    /// Whether sums may be made by Winograd's method where the engine has it: fewer multiplications, other rounding.
    pub winograd: bool,
}

/// Gradients of a convolution or of a linear layer.
#[derive(Clone, Debug)]
pub struct ProductGrads<T> {
    /// Of the input, if it was asked for.
    pub input: Option<T>,
    /// Of the weight, in its shape, if it was asked for.
    pub weight: Option<T>,
    /// Of the bias, `[out]`, if it was asked for.
    pub bias: Option<T>,
}

/// Which gradients of a convolution or a linear layer are wanted. Each has the same bits whichever others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductWants {
    /// That of the input.
    pub input: bool,
    /// That of the weight.
    pub weight: bool,
    /// That of the bias.
    pub bias: bool,
}

/// The parameters of a batch normalisation, with or without a ReLU after it.
#[derive(Clone, Debug)]
pub struct Normalization<T> {
    /// Scale γ, `[C]`.
    pub scale: T,
    /// Shift β, `[C]`.
    pub shift: T,
    /// Added to the variance before the square root.
    pub epsilon: f64,
    /// Whether the output is cut off at 0.
    pub relu: bool,
}

/// Output and statistics of a batch normalisation.
#[derive(Clone, Debug)]
pub struct Normalized<T> {
    /// `[N, C, H, W]`; `None` when only the way back was asked for.
    pub output: Option<T>,
    /// Batch mean, `[C]`.
    pub mean: T,
    /// Biased batch variance, `[C]`.
    pub variance: T,
}

/// Gradients of a batch normalisation.
#[derive(Clone, Debug)]
pub struct NormalizationGrads<T> {
    /// Of the input, `[N, C, H, W]`.
    pub input: T,
    /// Of the scale, `[C]`.
    pub scale: T,
    /// Of the shift, `[C]`.
    pub shift: T,
    /// Of the addend, if there was one.
    pub addend: Option<T>,
}

/// What the backward pass of a batch normalisation starts from.
#[derive(Debug)]
pub struct NormalizationTape<T> {
    /// The input.
    pub input: T,
    /// What was added to the output before the ReLU; kept unless [`Kernels::keeps_output`].
    pub addend: Option<T>,
    /// Whether there was an addend.
    pub added: bool,
    /// The statistics, and the output if [`Kernels::keeps_output`].
    pub result: Normalized<T>,
}

/// Geometry of a square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the window, in pixels.
    pub kernel: usize,
    /// Step between two windows, in pixels.
    pub stride: usize,
    /// Border on each side, in pixels, that is never the maximum, and 0 in a mean.
    pub padding: usize,
}

/// Geometry of `x[:, :, ::stride, ::stride]` with zero channels around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// Step between the pixels that are kept.
    pub stride: usize,
    /// Zero channels before, and as many after.
    pub padding: usize,
}

/// One parameter in an optimizer step.
#[derive(Debug)]
pub struct ParameterStep<'a, T> {
    /// The parameter, replaced by its new value.
    pub weight: &'a mut T,
    /// Its gradient.
    pub gradient: T,
    /// Its optimizer state, in the order of [`Optimizer::slots`].
    pub slots: &'a mut [T],
    /// The copy that passes compute with, where that is another format than the parameter's own; rewritten.
    pub rounded: Option<&'a mut T>,
}

/// A tensor library, as layers use it. Tensors are `[N, C, H, W]` in whatever memory order; a result must depend on the
/// values alone, not on that order, and must be the same bits every time. A tensor with another handle is
/// never changed: kernels write in place only where theirs is the only handle.
///
/// # Errors
/// [`EngineError::Backend`] when the library or the device fails, in every function that gives a result.
pub trait Kernels: Sized + 'static {
    /// A tensor; cloning copies a handle.
    type Tensor: Clone + Debug + Send + 'static;
    /// Where tensors live.
    type Device: Clone + Debug + Send;

    /// The engine's name.
    const ENGINE: &'static str;

    /// Makes the calling thread ready to run a stage on the device in this format.
    ///
    /// # Errors
    /// [`EngineError::Precision`] when the library does not compute in it; [`EngineError::Backend`] when the device
    /// cannot be used.
    fn prepare(device: &Self::Device, precision: Precision) -> Result<(), EngineError>;

    /// Ends a step of the calling thread, an update or the evaluation of a batch: a library that keeps memory for the
    /// next step frees what this one did not use.
    fn settle() {}

    /// Brings values to the device, row-major.
    fn upload(
        host: HostTensor,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError>;

    /// Copies the values to host memory, row-major.
    fn download(tensor: &Self::Tensor) -> Result<HostTensor, EngineError>;

    /// The same value everywhere.
    fn filled(
        shape: &[usize],
        value: f64,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError>;

    /// A copy in another format.
    fn cast(tensor: &Self::Tensor, precision: Precision) -> Result<Self::Tensor, EngineError>;

    /// The sides.
    fn shape(tensor: &Self::Tensor) -> Vec<usize>;

    /// Bytes of the values.
    fn size_bytes(tensor: &Self::Tensor) -> usize;

    /// Makes a tensor ready to leave the stage, on the thread that has computed it.
    fn hand_over(
        tensor: Self::Tensor,
        _device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(tensor)
    }

    /// Makes a tensor of another stage usable on this thread and device.
    fn take_over(
        tensor: &Self::Tensor,
        _device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(tensor.clone())
    }

    /// Cross-correlation of `[N, C, H, W]` with `[O, C / groups, k, k]`, plus a bias `[O]` if there is one.
    fn convolution(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
        geometry: Convolution,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradients of [`Kernels::convolution`].
    fn convolution_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError>;

    /// Batch normalisation with the statistics of the batch, then plus `addend`, then the ReLU. Without
    /// `wants_output` only the statistics are computed.
    fn normalize(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        addend: Option<Self::Tensor>,
        wants_output: bool,
    ) -> Result<Normalized<Self::Tensor>, EngineError>;

    /// As [`Kernels::normalize`], with given statistics, `[C]` each.
    fn normalize_by(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        mean: Self::Tensor,
        variance: Self::Tensor,
        addend: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradients of [`Kernels::normalize`].
    fn normalize_backward(
        tape: NormalizationTape<Self::Tensor>,
        with: &Normalization<Self::Tensor>,
        output_grad: Self::Tensor,
    ) -> Result<NormalizationGrads<Self::Tensor>, EngineError>;

    /// Whether [`Kernels::normalize_backward`] reads the output, instead of working the ReLU out from input and
    /// addend again; what is not read is not kept.
    fn keeps_output(with: &Normalization<Self::Tensor>, added: bool) -> bool;

    /// `max(x, 0)`.
    fn relu(input: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// The gradient where the output is above 0, else 0.
    fn relu_backward(
        output: Self::Tensor,
        output_grad: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// `min(max(x, 0), 6)`.
    fn relu6(input: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// The gradient where the output is above 0 and below 6, else 0.
    fn relu6_backward(
        output: Self::Tensor,
        output_grad: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError>;

    /// `a + b`, cut off at 0 if `relu`.
    fn sum(a: Self::Tensor, b: Self::Tensor, relu: bool) -> Result<Self::Tensor, EngineError>;

    /// The product of each two elements.
    fn multiply(a: Self::Tensor, b: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// Every `stride`-th pixel, between zero channels.
    fn subsample(input: Self::Tensor, geometry: Subsample) -> Result<Self::Tensor, EngineError>;

    /// Gradient of [`Kernels::subsample`] for an input of `[N, C, H, W]` = `shape`.
    fn subsample_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<Self::Tensor, EngineError>;

    /// Maximum over windows, with what [`Kernels::max_pool_backward`] needs besides the input to find the maxima
    /// again. Among equal values the first in row-major order wins.
    fn max_pool(
        input: Self::Tensor,
        window: Window,
    ) -> Result<(Self::Tensor, Self::Indices), EngineError>;

    /// Gradient of [`Kernels::max_pool`].
    fn max_pool_backward(
        input: Self::Tensor,
        indices: Self::Indices,
        output_grad: Self::Tensor,
        window: Window,
    ) -> Result<Self::Tensor, EngineError>;

    /// Positions of maxima.
    type Indices: Send + 'static;

    /// Mean over windows; the border counts as zeros.
    fn average_pool(input: Self::Tensor, window: Window) -> Result<Self::Tensor, EngineError>;

    /// Gradient of [`Kernels::average_pool`] for an input of `[N, C, H, W]` = `shape`.
    fn average_pool_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
        window: Window,
    ) -> Result<Self::Tensor, EngineError>;

    /// `[N, A, H, W]` and `[N, B, H, W]` side by side: `[N, A + B, H, W]`.
    fn concat(a: Self::Tensor, b: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// `len` channels of `[N, C, H, W]`, at least 1, from `first` on.
    fn channel_run(
        tensor: Self::Tensor,
        first: usize,
        len: usize,
    ) -> Result<Self::Tensor, EngineError>;

    /// Mean over H and W: `[N, C, 1, 1]`.
    fn global_average(input: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// Gradient of [`Kernels::global_average`] for an input of `[N, C, H, W]` = `shape`.
    fn global_average_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
    ) -> Result<Self::Tensor, EngineError>;

    /// The same values, row-major, in another shape.
    fn reshape(tensor: Self::Tensor, shape: &[usize]) -> Result<Self::Tensor, EngineError>;

    /// `x·Wᵀ + b` of `[N, I]` with `W` as `[O, I]`.
    fn linear(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError>;

    /// Gradients of [`Kernels::linear`].
    fn linear_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError>;

    /// Adds a gradient to a sum of gradients.
    fn accumulate(sum: Self::Tensor, gradient: Self::Tensor) -> Result<Self::Tensor, EngineError>;

    /// `keep·a + gain·b`, two tensors of the same shape and format.
    fn blend(
        a: Self::Tensor,
        keep: f64,
        b: Self::Tensor,
        gain: f64,
    ) -> Result<Self::Tensor, EngineError>;

    /// The sum of squares of all elements of all tensors, added up in 64 bits.
    fn square_sum(tensors: &[&Self::Tensor]) -> Result<f64, EngineError>;

    /// The sum of squares of each tensor, added up in 64 bits.
    fn square_sums(tensors: &[&Self::Tensor]) -> Result<Vec<f64>, EngineError> {
        let each = tensors.iter();
        each.map(|tensor| Self::square_sum(&[tensor])).collect()
    }

    /// Multiplies by a number.
    fn scale(tensor: Self::Tensor, factor: f64) -> Result<Self::Tensor, EngineError>;

    /// One step of the optimizer on all these parameters; `step` counts from 1.
    fn step(
        optimizer: &Optimizer,
        step: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, Self::Tensor>>,
    ) -> Result<(), EngineError>;
}
