//! The parameter-free shortcut of He et al. 2015, option A.

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Subsample};
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, sides};

/// Every `stride`-th pixel, between zero channels.
pub(super) struct SubsamplePad(pub Subsample);

impl<K: Kernels> Layer<K> for SubsamplePad {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("subsample", || K::subsample(input, self.0))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let (shape, geometry) = (sides::<K>(&input), self.0);
        let output = self.forward(input, pass)?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, wants_input| {
            let pull = || K::subsample_backward(output_grad, shape, geometry);
            wants_input
                .then(|| timed("subsample backward", pull))
                .transpose()
        });
        Ok((output, pullback))
    }
}
