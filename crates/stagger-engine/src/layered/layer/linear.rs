//! Fully connected layer.

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, ProductWants};
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `x·Wᵀ + b` with `W` as `[outputs, inputs]`.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub weight: usize,
    pub bias: Option<usize>,
}

struct LinearPullback<K: Kernels> {
    layer: Linear,
    input: K::Tensor,
    weight: K::Tensor,
}

impl<K: Kernels> Layer<K> for Linear {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let weight = pass.weights[self.weight].clone();
        let bias = self.bias.map(|bias| pass.weights[bias].clone());
        timed("linear", || K::linear(input, weight, bias))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let output = self.forward(input.clone(), pass)?;
        let pullback = LinearPullback {
            layer: *self,
            input,
            weight: pass.weights[self.weight].clone(),
        };
        Ok((output, Box::new(pullback)))
    }
}

impl<K: Kernels> Pullback<K> for LinearPullback<K> {
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
        let grads = timed("linear backward", || {
            K::linear_backward(input, weight, output_grad, wants)
        })?;
        if let (Some(bias), Some(gradient)) = (layer.bias, grads.bias) {
            gradients.add(bias, gradient)?;
        }
        gradients.add(layer.weight, grads.weight)?;
        Ok(grads.input)
    }
}
