//! Flattening.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata};

use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `[N, …]` to `[N, F]`.
pub(super) struct Flatten;

struct FlattenPullback {
    shape: Shape,
}

impl<B: Kernels> Layer<B> for Flatten {
    fn forward(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let shape = input.shape();
        let features = shape.iter().skip(1).product();
        Ok(B::float_reshape(input, Shape::new([shape[0], features])))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let shape = input.shape();
        Ok((
            self.forward(input, pass)?,
            Box::new(FlattenPullback { shape }),
        ))
    }
}

impl<B: Kernels> Pullback<B> for FlattenPullback {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        _: bool,
    ) -> Option<FloatTensor<B>> {
        Some(B::float_reshape(output_grad, self.shape))
    }
}
