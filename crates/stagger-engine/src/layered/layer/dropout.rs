//! Dropout.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;
use crate::random::dropout_mask;
use crate::tensor::HostTensor;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Zeroes elements at random in training; the identity in evaluation.
pub(super) struct Dropout {
    pub name: String,
    pub probability: f64,
}

struct DropoutPullback<K: Kernels> {
    mask: K::Tensor,
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
        Ok((output, Box::new(DropoutPullback { mask })))
    }

    fn evaluate(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        Ok(input)
    }
}

impl<K: Kernels> Pullback<K> for DropoutPullback<K> {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        _: &mut Gradients<K>,
        _: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        Ok(Some(timed("dropout", || {
            K::multiply(output_grad, self.mask)
        })?))
    }
}
