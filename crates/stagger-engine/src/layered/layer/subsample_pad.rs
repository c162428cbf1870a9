//! The parameter-free shortcut of He et al. 2015, option A.

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Subsample};
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, sides};

/// Every `stride`-th pixel, between zero channels.
pub(super) struct SubsamplePad(pub Subsample);

struct SubsamplePadPullback {
    shape: [usize; 4],
    geometry: Subsample,
}

impl<K: Kernels> Layer<K> for SubsamplePad {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        timed("subsample", || K::subsample(input, self.0))
    }

    fn record(
        &self,
        input: K::Tensor,
        _: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let pullback = SubsamplePadPullback {
            shape: sides::<K>(&input),
            geometry: self.0,
        };
        Ok((
            timed("subsample", || K::subsample(input, self.0))?,
            Box::new(pullback),
        ))
    }
}

impl<K: Kernels> Pullback<K> for SubsamplePadPullback {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        _: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        wants_input
            .then(|| {
                timed("subsample backward", || {
                    K::subsample_backward(output_grad, self.shape, self.geometry)
                })
            })
            .transpose()
    }
}
