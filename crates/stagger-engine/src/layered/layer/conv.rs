//! Convolution.

use crate::error::EngineError;
use crate::layered::kernels::{Convolution, Kernels, ProductWants};
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Cross-correlation, with indices of its parameters.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub weight: usize,
    pub bias: Option<usize>,
    pub geometry: Convolution,
}

struct ConvPullback<K: Kernels> {
    layer: Conv,
    input: K::Tensor,
    weight: K::Tensor,
}

impl Conv {
    fn pullback<K: Kernels>(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Box<dyn Pullback<K>> {
        Box::new(ConvPullback {
            layer: *self,
            input,
            weight: pass.weights[self.weight].clone(),
        })
    }
}

impl<K: Kernels> Layer<K> for Conv {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let weight = pass.weights[self.weight].clone();
        let bias = self.bias.map(|bias| pass.weights[bias].clone());
        timed("convolution", || {
            K::convolution(input, weight, bias, self.geometry)
        })
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let output = self.forward(input.clone(), pass)?;
        Ok((output, self.pullback(input, pass)))
    }

    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Box<dyn Pullback<K>>, EngineError> {
        Ok(self.pullback(input, pass))
    }
}

impl<K: Kernels> Pullback<K> for ConvPullback<K> {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        gradients: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let Self {
            layer,
            input,
            weight,
        } = *self;
        let wants = ProductWants {
            input: wants_input,
            bias: layer.bias.is_some(),
        };
        let grads = timed("convolution backward", || {
            K::convolution_backward(input, weight, output_grad, layer.geometry, wants)
        })?;
        if let (Some(bias), Some(gradient)) = (layer.bias, grads.bias) {
            gradients.add(bias, gradient)?;
        }
        gradients.add(layer.weight, grads.weight)?;
        Ok(grads.input)
    }
}
