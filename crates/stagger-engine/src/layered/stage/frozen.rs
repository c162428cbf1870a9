//! What a frozen stage does instead of training.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::timing::timed;
use crate::stage::UpdateReport;

use super::{LayeredActivation, LayeredGraph, LayeredStage, Recorded};

impl<K: Kernels> LayeredStage<K> {
    /// As in an evaluation: by running statistics, with nothing dropped out.
    pub(super) fn frozen_output(
        &self,
        input: &LayeredActivation<K>,
    ) -> Result<LayeredActivation<K>, EngineError> {
        let output = self.layers.evaluate(self.input(input)?, &self.pass(0))?;
        self.output(output)
    }

    /// Nothing is kept of a pass but the shape of its input.
    pub(super) fn frozen_graph(
        &self,
        input: &LayeredActivation<K>,
    ) -> Result<LayeredGraph<K>, EngineError> {
        let input = self.input(input)?;
        Ok(LayeredGraph(Recorded::Frozen(K::shape(&input))))
    }

    /// The gradient of its input, for the stage below, which is frozen, too.
    pub(super) fn no_gradient(
        &self,
        shape: &[usize],
    ) -> Result<Option<LayeredActivation<K>>, EngineError> {
        if self.first {
            return Ok(None);
        }
        let zeros = timed("upload", || {
            K::filled(shape, 0.0, self.precision, &self.device)
        })?;
        self.output(zeros).map(Some)
    }

    /// An update that changes nothing.
    pub(super) fn frozen_report(&self) -> UpdateReport {
        K::settle();
        UpdateReport {
            gradient_norm: self.clip_norm.map(|_| 0.0),
        }
    }
}
