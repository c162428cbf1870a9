//! Convolution.

use burn_backend::tensor::FloatTensor;

use crate::burn::kernels::{Convolution, ConvolutionWants, Kernels};
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Cross-correlation, with indices of its parameters.
pub(super) struct Conv {
    pub weight: usize,
    pub bias: Option<usize>,
    pub geometry: Convolution,
}

struct ConvPullback<B: Kernels> {
    layer: Conv,
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
}

impl<B: Kernels> Layer<B> for Conv {
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let weight = pass.weights[self.weight].clone();
        let bias = self.bias.map(|bias| pass.weights[bias].clone());
        Ok(B::convolution(input, weight, bias, self.geometry))
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
            Box::new(ConvPullback {
                layer,
                input,
                weight,
            }),
        ))
    }
}

impl<B: Kernels> Pullback<B> for ConvPullback<B> {
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
        let wants = ConvolutionWants {
            input: wants_input,
            bias: layer.bias.is_some(),
        };
        let grads = B::convolution_backward(input, weight, output_grad, layer.geometry, wants);
        if let (Some(bias), Some(gradient)) = (layer.bias, grads.bias) {
            gradients.add(bias, gradient);
        }
        gradients.add(layer.weight, grads.weight);
        grads.input
    }
}
