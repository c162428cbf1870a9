//! Pooling.

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Window};
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, sides};

/// Maximum over a square window. Among equal values the first in row-major order takes the gradient, as in PyTorch.
pub(super) struct MaxPool(pub Window);

struct MaxPoolPullback<K: Kernels> {
    window: Window,
    input: K::Tensor,
    indices: K::Indices,
}

/// Mean over H and W.
pub(super) struct GlobalAvgPool;

struct GlobalAvgPoolPullback {
    shape: [usize; 4],
}

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
        let (output, indices) = timed("max pool", || K::max_pool(input.clone(), self.0))?;
        let pullback = MaxPoolPullback::<K> {
            window: self.0,
            input,
            indices,
        };
        Ok((output, Box::new(pullback)))
    }
}

impl<K: Kernels> Pullback<K> for MaxPoolPullback<K> {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        _: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let Self {
            window,
            input,
            indices,
        } = *self;
        wants_input
            .then(|| {
                timed("max pool backward", || {
                    K::max_pool_backward(input, indices, output_grad, window)
                })
            })
            .transpose()
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
        Ok((output, Box::new(GlobalAvgPoolPullback { shape })))
    }
}

impl<K: Kernels> Pullback<K> for GlobalAvgPoolPullback {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        _: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        wants_input
            .then(|| {
                timed("average pool backward", || {
                    K::global_average_backward(output_grad, self.shape)
                })
            })
            .transpose()
    }
}
