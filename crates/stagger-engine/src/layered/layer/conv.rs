//! Convolution.

use crate::error::EngineError;
use crate::layered::kernels::{Convolution, Kernels};
use crate::layered::product::Product;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Cross-correlation, with indices of its parameters.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub weight: usize,
    pub bias: Option<usize>,
    pub geometry: Convolution,
}

impl Conv {
    fn pullback<K: Kernels>(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Pullback<K> {
        let product = Product {
            geometry: Some(self.geometry),
            weight_at: self.weight,
            bias_at: self.bias,
            input,
            weight: pass.weights[self.weight].clone(),
        };
        Box::new(move |output_grad, gradients, wants_input| {
            gradients.pull(product, output_grad, wants_input)
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
    ) -> Result<Pullback<K>, EngineError> {
        Ok(self.pullback(input, pass))
    }
}
