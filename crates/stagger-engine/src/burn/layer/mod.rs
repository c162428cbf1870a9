//! Layers: what runs forward, and what it keeps to run backward.

mod batch_norm;
mod conv;
mod dropout;
mod flatten;
mod linear;
mod pool;
mod relu;
mod residual;
mod sequence;

mod subsample_pad;

use burn_backend::FloatDType;
use burn_backend::tensor::{Device, FloatTensor};

pub(crate) use sequence::{Sequence, SequencePullback};

use crate::error::EngineError;

use super::kernels::Kernels;
use super::parameters::{Gradients, RunningStatistics};

/// What a pass gives its layers besides their input.
pub(crate) struct Pass<'a, B: Kernels> {
    /// The stage's parameters, in order.
    pub weights: &'a [FloatTensor<B>],
    /// The running statistics of its batch normalisations, in order.
    pub statistics: &'a [RunningStatistics<B>],
    /// Key of dropout masks.
    pub seed: u64,
    /// Index of the batch; another part of the key.
    pub batch: usize,
    /// Precision of all tensors.
    pub precision: FloatDType,
    /// Where new tensors go.
    pub device: &'a Device<B>,
}

/// The statistics of one batch, which a recorded pass leaves for the running ones.
pub(crate) struct BatchStatistics<B: Kernels> {
    /// Which batch normalisation.
    pub index: usize,
    /// `[C]`.
    pub mean: FloatTensor<B>,
    /// Biased, `[C]`.
    pub variance: FloatTensor<B>,
    /// Values per channel.
    pub count: usize,
}

/// One layer, ready to run.
pub(crate) trait Layer<B: Kernels>: Send {
    /// Training forward without a graph.
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError>;

    /// The same bits as [`Layer::forward`], with the way back; batch statistics are pushed onto `seen`.
    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        seen: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError>;

    /// Inference forward.
    fn evaluate(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        self.forward(input, pass)
    }
}

/// A layer's output and the way back.
pub(crate) type Recorded<B> = (FloatTensor<B>, Box<dyn Pullback<B>>);

/// What a layer keeps of a recorded pass. It holds its own handles of weights: an update afterwards does not reach
/// them, since backends copy before they write to a shared buffer.
pub(crate) trait Pullback<B: Kernels>: Send {
    /// Adds to the parameters' gradients and gives the gradient of the input, if that is wanted.
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        gradients: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>>;
}
