//! ReLU that follows neither a batch normalisation nor a residual.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `max(x, 0)`.
pub(super) struct Relu;

/// Keeps the output, which the next layer mostly keeps as its input anyway.
pub(super) struct ReluPullback<K: Kernels> {
    pub output: K::Tensor,
}

impl<K: Kernels> Layer<K> for Relu {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("relu", || K::relu(input))
    }

    fn record(
        &self,
        input: K::Tensor,
        _: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let output = timed("relu", || K::relu(input))?;
        Ok((output.clone(), Box::new(ReluPullback { output })))
    }
}

impl<K: Kernels> Pullback<K> for ReluPullback<K> {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        _: &mut Gradients<K>,
        _: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        Ok(Some(timed("relu backward", || {
            K::relu_backward(self.output, output_grad)
        })?))
    }
}
