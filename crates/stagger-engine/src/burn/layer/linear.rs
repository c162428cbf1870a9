//! Fully connected layer.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata};

use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `x·Wᵀ + b` with `W` as `[outputs, inputs]`.
pub(super) struct Linear {
    pub weight: usize,
    pub bias: Option<usize>,
}

struct LinearPullback<B: Kernels> {
    layer: Linear,
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
}

impl<B: Kernels> Layer<B> for Linear {
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let weight = B::float_transpose(pass.weights[self.weight].clone());
        let output = B::float_matmul(input, weight);
        let Some(bias) = self.bias.map(|bias| pass.weights[bias].clone()) else {
            return Ok(output);
        };
        let outputs = bias.shape()[0];
        Ok(B::float_add(
            output,
            B::float_reshape(bias, Shape::new([1, outputs])),
        ))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let output = self.forward(input.clone(), pass)?;
        let layer = Self { ..*self };
        let weight = pass.weights[self.weight].clone();
        Ok((
            output,
            Box::new(LinearPullback {
                layer,
                input,
                weight,
            }),
        ))
    }
}

impl<B: Kernels> Pullback<B> for LinearPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        gradients: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        let Self {
            layer,
            input,
            weight,
        } = *self;
        if let Some(bias) = layer.bias {
            let sum = B::float_sum_dim(output_grad.clone(), 0);
            let outputs = sum.shape()[1];
            gradients.add(bias, B::float_reshape(sum, Shape::new([outputs])));
        }
        let transposed = B::float_transpose(output_grad.clone());
        gradients.add(layer.weight, B::float_matmul(transposed, input));
        wants_input.then(|| B::float_matmul(output_grad, weight))
    }
}
