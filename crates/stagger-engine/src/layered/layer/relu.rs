//! ReLU that follows neither a batch normalisation nor a residual, and the one that is cut off at 6.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `max(x, 0)`.
pub(super) struct Relu;

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
        // The output, which the next layer mostly keeps as its input anyway.
        let kept = output.clone();
        let pullback: Pullback<K> = Box::new(move |output_grad, _, _| {
            timed("relu backward", || K::relu_backward(kept, output_grad)).map(Some)
        });
        Ok((output, pullback))
    }
}

/// `min(max(x, 0), 6)`.
pub(super) struct Relu6;

impl<K: Kernels> Layer<K> for Relu6 {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("relu6", || K::relu6(input))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let output = self.forward(input, pass)?;
        let kept = output.clone();
        let pullback: Pullback<K> = Box::new(move |output_grad, _, _| {
            timed("relu6 backward", || K::relu6_backward(kept, output_grad)).map(Some)
        });
        Ok((output, pullback))
    }
}
