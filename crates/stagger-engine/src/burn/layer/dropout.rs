//! Dropout.

use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;

use crate::burn::convert::to_device;
use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;
use crate::random::dropout_mask;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Zeroes elements at random in training; the identity in evaluation.
pub(super) struct Dropout {
    pub name: String,
    pub probability: f64,
}

struct DropoutPullback<B: Kernels> {
    mask: FloatTensor<B>,
}

impl Dropout {
    fn mask<B: Kernels>(&self, input: &FloatTensor<B>, pass: &Pass<'_, B>) -> FloatTensor<B> {
        let shape = input.shape();
        let len = shape.num_elements();
        let mask = dropout_mask(pass.seed, &self.name, pass.batch, self.probability, len);
        to_device::<B>(&shape, mask, pass.precision, pass.device)
    }
}

impl<B: Kernels> Layer<B> for Dropout {
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let mask = self.mask(&input, pass);
        Ok(B::float_mul(input, mask))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let mask = self.mask(&input, pass);
        Ok((
            B::float_mul(input, mask.clone()),
            Box::new(DropoutPullback { mask }),
        ))
    }

    fn evaluate(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        Ok(input)
    }
}

impl<B: Kernels> Pullback<B> for DropoutPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        _: bool,
    ) -> Option<FloatTensor<B>> {
        Some(B::float_mul(output_grad, self.mask))
    }
}
