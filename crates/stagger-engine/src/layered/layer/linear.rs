//! Fully connected layer.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::product::Product;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `x·Wᵀ + b` with `W` as `[outputs, inputs]`.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub weight: usize,
    pub bias: Option<usize>,
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
        let product = Product {
            geometry: None,
            weight_at: self.weight,
            bias_at: self.bias,
            input,
            weight: pass.weights[self.weight].clone(),
        };
        let pullback: Pullback<K> = Box::new(move |output_grad, gradients, wants_input| {
            gradients.pull(product, output_grad, wants_input)
        });
        Ok((output, pullback))
    }
}
