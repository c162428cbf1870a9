//! Pooling.

use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{TensorMetadata, get_or_init_device_settings};

use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Maximum over a square window. Among equal values the first in row-major order takes the gradient, as in PyTorch.
#[derive(Clone, Copy)]
pub(super) struct MaxPool {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

struct MaxPoolPullback<B: Kernels> {
    layer: MaxPool,
    input: FloatTensor<B>,
    indices: IntTensor<B>,
}

/// Mean over H and W.
pub(super) struct GlobalAvgPool;

struct GlobalAvgPoolPullback<B: Kernels> {
    input: FloatTensor<B>,
}

impl<B: Kernels> Layer<B> for MaxPool {
    fn forward(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let Self {
            kernel,
            stride,
            padding,
        } = *self;
        Ok(B::max_pool2d(
            input,
            [kernel; 2],
            [stride; 2],
            [padding; 2],
            [1, 1],
            false,
        ))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let Self {
            kernel,
            stride,
            padding,
        } = *self;
        let indices_type = get_or_init_device_settings::<B>(&input.device()).int_dtype;
        let found = B::max_pool2d_with_indices(
            input.clone(),
            [kernel; 2],
            [stride; 2],
            [padding; 2],
            [1, 1],
            false,
            indices_type,
        );
        let pullback = MaxPoolPullback {
            layer: *self,
            input,
            indices: found.indices,
        };
        Ok((found.output, Box::new(pullback)))
    }
}

impl<B: Kernels> Pullback<B> for MaxPoolPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        let MaxPool {
            kernel,
            stride,
            padding,
        } = self.layer;
        let pull = || {
            B::max_pool2d_with_indices_backward(
                self.input,
                [kernel; 2],
                [stride; 2],
                [padding; 2],
                [1, 1],
                false,
                output_grad,
                self.indices,
            )
        };
        wants_input.then(|| pull().x_grad)
    }
}

impl<B: Kernels> Layer<B> for GlobalAvgPool {
    fn forward(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        Ok(B::adaptive_avg_pool2d(input, [1, 1]))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let output = self.forward(input.clone(), pass)?;
        Ok((output, Box::new(GlobalAvgPoolPullback { input })))
    }
}

impl<B: Kernels> Pullback<B> for GlobalAvgPoolPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        wants_input.then(|| B::adaptive_avg_pool2d_backward(self.input, output_grad))
    }
}
