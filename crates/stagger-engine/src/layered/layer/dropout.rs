//! Dropout.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::timing::timed;
use crate::random::dropout_mask;
use crate::tensor::HostTensor;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Zeroes elements at random in training; the identity in evaluation.
pub(super) struct Dropout {
    pub name: String,
    pub probability: f64,
}

impl Dropout {
    fn mask<K: Kernels>(
        &self,
        input: &K::Tensor,
        pass: &Pass<'_, K>,
    ) -> Result<K::Tensor, EngineError> {
        let shape = K::shape(input);
        let len = shape.iter().product();
        let data = dropout_mask(pass.seed, &self.name, pass.batch, self.probability, len);
        timed("upload", || {
            K::upload(HostTensor { shape, data }, pass.precision, pass.device)
        })
    }
}

impl<K: Kernels> Layer<K> for Dropout {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let mask = self.mask::<K>(&input, pass)?;
        timed("dropout", || K::multiply(input, mask))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let mask = self.mask::<K>(&input, pass)?;
        let output = timed("dropout", || K::multiply(input, mask.clone()))?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, _| {
            timed("dropout", || K::multiply(output_grad, mask)).map(Some)
        });
        Ok((output, pullback))
    }

    fn evaluate(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        Ok(input)
    }
}
