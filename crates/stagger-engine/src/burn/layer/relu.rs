//! ReLU that follows neither a batch normalisation nor a residual.

use burn_backend::tensor::FloatTensor;

use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `max(x, 0)`.
pub(super) struct Relu;

/// Keeps the output, which the next layer mostly keeps as its input anyway.
pub(super) struct ReluPullback<B: Kernels> {
    pub output: FloatTensor<B>,
}

impl<B: Kernels> Layer<B> for Relu {
    fn forward(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        Ok(B::rectify(input))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let output = B::rectify(input);
        Ok((output.clone(), Box::new(ReluPullback { output })))
    }
}

impl<B: Kernels> Pullback<B> for ReluPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        _: bool,
    ) -> Option<FloatTensor<B>> {
        Some(B::rectify_backward(self.output, output_grad))
    }
}
