//! The way back through a stage, whole or in two halves.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::product::{Collected, LateProduct};

use super::{LayeredActivation, LayeredGraph, LayeredStage, Recorded};

/// What [`Stage::backward_input`](crate::Stage::backward_input) keeps for [`Stage::backward_weights`](crate::Stage::backward_weights): of each convolution and each linear layer the input and
/// the gradient of the output, and a handle of its weight.
pub struct LayeredPending<K: Kernels>(Vec<LateProduct<K>>);

impl<K: Kernels> LayeredStage<K> {
    /// All gradients at once. Each layer's memory is freed as soon as it is done.
    pub(super) fn pull_back(
        &mut self,
        graph: LayeredGraph<K>,
        output_grad: LayeredActivation<K>,
    ) -> Result<Option<LayeredActivation<K>>, EngineError> {
        let grad = self.output_grad(output_grad)?;
        let graph = match graph.0 {
            Recorded::Pass(graph) => graph,
            Recorded::Frozen(shape) => return self.no_gradient(&shape),
        };
        let mut gradients = Collected::whole(&mut self.gradients);
        let input_grad = graph.pull(grad, &mut gradients, !self.first)?;
        self.input_grad(input_grad)
    }

    /// The first half.
    pub(super) fn pull_back_input(
        &mut self,
        graph: LayeredGraph<K>,
        output_grad: LayeredActivation<K>,
    ) -> Result<(Option<LayeredActivation<K>>, LayeredPending<K>), EngineError> {
        let grad = self.output_grad(output_grad)?;
        let mut late = Vec::new();
        let input_grad = match graph.0 {
            Recorded::Pass(graph) => {
                let mut gradients = Collected::first_half(&mut self.gradients, &mut late);
                let input_grad = graph.pull(grad, &mut gradients, !self.first)?;
                self.input_grad(input_grad)?
            }
            Recorded::Frozen(shape) => self.no_gradient(&shape)?,
        };
        Ok((input_grad, LayeredPending(late)))
    }

    /// The second half.
    pub(super) fn add_late_gradients(
        &mut self,
        pending: LayeredPending<K>,
    ) -> Result<(), EngineError> {
        let mut late = pending.0.into_iter();
        late.try_for_each(|product| product.add_to(&mut self.gradients))
    }

    /// A gradient that has come in. Dropping its handle lets kernels write into its memory.
    fn output_grad(&self, grad: LayeredActivation<K>) -> Result<K::Tensor, EngineError> {
        self.checked("output gradient", &self.output_shape, grad.tensor())
    }

    /// The gradient that goes out to the stage below, if there is one.
    fn input_grad(
        &self,
        grad: Option<K::Tensor>,
    ) -> Result<Option<LayeredActivation<K>>, EngineError> {
        grad.filter(|_| !self.first)
            .map(|grad| self.output(grad))
            .transpose()
    }
}
