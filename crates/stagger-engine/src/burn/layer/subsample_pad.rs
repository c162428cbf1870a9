//! The parameter-free shortcut of He et al. 2015, option A.

use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;

use crate::burn::kernels::{Kernels, Subsample};
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Every `stride`-th pixel, between zero channels.
pub(super) struct SubsamplePad(pub Subsample);

struct SubsamplePadPullback {
    shape: [usize; 4],
    geometry: Subsample,
}

impl<B: Kernels> Layer<B> for SubsamplePad {
    fn forward(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        Ok(B::subsample(input, self.0))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        _: &Pass<'_, B>,
        _: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let pullback = SubsamplePadPullback {
            shape: input.shape().dims(),
            geometry: self.0,
        };
        Ok((B::subsample(input, self.0), Box::new(pullback)))
    }
}

impl<B: Kernels> Pullback<B> for SubsamplePadPullback {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        _: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        wants_input.then(|| B::subsample_backward(output_grad, self.shape, self.geometry))
    }
}
