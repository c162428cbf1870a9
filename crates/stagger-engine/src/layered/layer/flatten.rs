//! Flattening.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// `[N, …]` to `[N, F]`.
pub(super) struct Flatten;

impl<K: Kernels> Layer<K> for Flatten {
    fn forward(&self, input: K::Tensor, _: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let shape = K::shape(&input);
        let features = shape.iter().skip(1).product();
        timed("reshape", || K::reshape(input, &[shape[0], features]))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        _: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let shape = K::shape(&input);
        let output = self.forward(input, pass)?;
        let pullback: Pullback<K> = Box::new(move |output_grad, _, _| {
            timed("reshape", || K::reshape(output_grad, &shape)).map(Some)
        });
        Ok((output, pullback))
    }
}
