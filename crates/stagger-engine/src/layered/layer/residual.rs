//! Sum of two branches, with the ReLU that follows it.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;

use super::batch_norm::{BatchNorm, BatchNormPullback, wanted};
use super::relu::ReluPullback;
use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, Sequence, SequencePullback};

/// `body(x) + shortcut(x)`; an empty sequence is the identity.
pub(super) struct Residual<K: Kernels> {
    pub body: Sequence<K>,
    pub shortcut: Sequence<K>,
    pub join: Join,
}

/// How the branches meet.
pub(super) enum Join {
    /// A plain sum.
    Sum { relu: bool },
    /// The body's last layer is a batch normalisation, which adds the shortcut while it writes its output (and has
    /// the ReLU): one pass over memory instead of three.
    Normalization(BatchNorm),
}

struct ResidualPullback<K: Kernels> {
    body: SequencePullback<K>,
    shortcut: SequencePullback<K>,
    join: JoinPullback<K>,
}

enum JoinPullback<K: Kernels> {
    Sum(Option<ReluPullback<K>>),
    Normalization(BatchNormPullback<K>),
}

impl<K: Kernels> Residual<K> {
    fn run(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
        wants_output: bool,
    ) -> Result<(Option<K::Tensor>, ResidualPullback<K>), EngineError> {
        let (body_output, body) = self.body.record(input.clone(), pass, seen)?;
        let (shortcut_output, shortcut) = self.shortcut.record(input, pass, seen)?;
        let (output, join) = match &self.join {
            Join::Sum { relu: false } if !wants_output => (None, JoinPullback::Sum(None)),
            Join::Sum { relu } => {
                let output = timed("sum", || K::sum(body_output, shortcut_output, *relu))?;
                let relu = relu.then(|| ReluPullback {
                    output: output.clone(),
                });
                (Some(output), JoinPullback::Sum(relu))
            }
            Join::Normalization(norm) => {
                let addend = Some(shortcut_output);
                let (output, pullback) =
                    norm.record_plus(body_output, addend, pass, seen, wants_output)?;
                (output, JoinPullback::Normalization(pullback))
            }
        };
        let pullback = ResidualPullback {
            body,
            shortcut,
            join,
        };
        Ok((output, pullback))
    }
}

impl<K: Kernels> Layer<K> for Residual<K> {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let body = self.body.forward(input.clone(), pass)?;
        let shortcut = self.shortcut.forward(input, pass)?;
        match &self.join {
            Join::Sum { relu } => timed("sum", || K::sum(body, shortcut, *relu)),
            Join::Normalization(norm) => norm.forward_plus(body, Some(shortcut), pass),
        }
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let (output, pullback) = self.run(input, pass, seen, true)?;
        Ok((wanted::<K>(output)?, Box::new(pullback)))
    }

    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Box<dyn Pullback<K>>, EngineError> {
        let (_, pullback) = self.run(input, pass, seen, false)?;
        Ok(Box::new(pullback))
    }

    fn evaluate(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let body = self.body.evaluate(input.clone(), pass)?;
        let shortcut = self.shortcut.evaluate(input, pass)?;
        match &self.join {
            Join::Sum { relu } => timed("sum", || K::sum(body, shortcut, *relu)),
            Join::Normalization(norm) => norm.evaluate_plus(body, Some(shortcut), pass),
        }
    }
}

impl<K: Kernels> Pullback<K> for ResidualPullback<K> {
    fn pull(
        self: Box<Self>,
        output_grad: K::Tensor,
        gradients: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let Self {
            body,
            shortcut,
            join,
        } = *self;
        let (body_grad, shortcut_grad) = match join {
            JoinPullback::Sum(None) => (output_grad.clone(), output_grad),
            JoinPullback::Sum(Some(relu)) => {
                let grad = timed("relu backward", || {
                    K::relu_backward(relu.output, output_grad)
                })?;
                (grad.clone(), grad)
            }
            JoinPullback::Normalization(norm) => {
                let grads = norm.pull_plus(output_grad, gradients)?;
                (grads.input, wanted::<K>(grads.addend)?)
            }
        };
        let through_body = body.pull(body_grad, gradients, wants_input)?;
        let through_shortcut = shortcut.pull(shortcut_grad, gradients, wants_input)?;
        match (through_body, through_shortcut) {
            (Some(body), Some(shortcut)) if wants_input => {
                Ok(Some(timed("sum", || K::sum(body, shortcut, false))?))
            }
            _ => Ok(None),
        }
    }
}
