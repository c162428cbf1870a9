//! Pooling.

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Window};
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, sides};

/// Maximum over a square window. Among equal values the first in row-major order takes the gradient, as in PyTorch.
pub(super) struct MaxPool(pub Window);

/// Mean over a square window.
pub(super) struct AvgPool(pub Window);

/// Mean over H and W.
pub(super) struct GlobalAvgPool;

impl<K: Kernels> Layer<K> for MaxPool {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        Ok(timed("max pool", || K::max_pool(input, self.0))?.0)
    }

    fn record(
        &self,
        input: K::Tensor,
        _: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let window = self.0;
        let (output, indices) = timed("max pool", || K::max_pool(input.clone(), window))?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, wants_input| {
            let pull = || K::max_pool_backward(input, indices, output_grad, window);
            wants_input
                .then(|| timed("max pool backward", pull))
                .transpose()
        });
        Ok((output, pullback))
    }
}

impl<K: Kernels> Layer<K> for AvgPool {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("average pool", || K::average_pool(input, self.0))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let (shape, window) = (sides::<K>(&input), self.0);
        let output = self.forward(input, pass)?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, wants_input| {
            let pull = || K::average_pool_backward(output_grad, shape, window);
            wants_input
                .then(|| timed("average pool backward", pull))
                .transpose()
        });
        Ok((output, pullback))
    }
}

impl<K: Kernels> Layer<K> for GlobalAvgPool {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("average pool", || K::global_average(input))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let shape = sides::<K>(&input);
        let output = self.forward(input, pass)?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, wants_input| {
            let pull = || K::global_average_backward(output_grad, shape);
            wants_input
                .then(|| timed("average pool backward", pull))
                .transpose()
        });
        Ok((output, pullback))
    }
}
