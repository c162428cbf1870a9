//! Sum of two branches, with the ReLU that follows it.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::product::Collected;
use crate::layered::timing::timed;

use super::batch_norm::{BatchNorm, BatchNormPullback, wanted};
use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, Sequence};

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

enum JoinPullback<K: Kernels> {
    /// With the output, where it has a ReLU.
    Sum(Option<K::Tensor>),
    Normalization(BatchNormPullback<K>),
}

impl<K: Kernels> JoinPullback<K> {
    /// The gradients of body and shortcut.
    fn pull(
        self,
        output_grad: K::Tensor,
        gradients: &mut Collected<'_, K>,
    ) -> Result<(K::Tensor, K::Tensor), EngineError> {
        let grad = match self {
            Self::Sum(None) => output_grad,
            Self::Sum(Some(output)) => {
                timed("relu backward", || K::relu_backward(output, output_grad))?
            }
            Self::Normalization(norm) => {
                let (body, shortcut) = norm.pull_plus(output_grad, gradients)?;
                return Ok((body, wanted::<K>(shortcut)?));
            }
        };
        Ok((grad.clone(), grad))
    }
}

impl<K: Kernels> Residual<K> {
    fn run(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
        wants_output: bool,
    ) -> Result<(Option<K::Tensor>, Pullback<K>), EngineError> {
        let (body_output, body) = self.body.record(input.clone(), pass, seen)?;
        let (shortcut_output, shortcut) = self.shortcut.record(input, pass, seen)?;
        let (output, join) = match &self.join {
            Join::Sum { relu: false } if !wants_output => (None, JoinPullback::Sum(None)),
            Join::Sum { relu } => {
                let output = timed("sum", || K::sum(body_output, shortcut_output, *relu))?;
                let kept = relu.then(|| output.clone());
                (Some(output), JoinPullback::Sum(kept))
            }
            Join::Normalization(norm) => {
                let addend = Some(shortcut_output);
                let (output, pullback) =
                    norm.record_plus(body_output, addend, pass, seen, wants_output)?;
                (output, JoinPullback::Normalization(pullback))
            }
        };
        let pullback: Pullback<K> = Box::new(move |output_grad, gradients, wants_input| {
            let (body_grad, shortcut_grad) = join.pull(output_grad, gradients)?;
            let through_body = body.pull(body_grad, gradients, wants_input)?;
            let through_shortcut = shortcut.pull(shortcut_grad, gradients, wants_input)?;
            match (through_body, through_shortcut) {
                (Some(body), Some(shortcut)) if wants_input => {
                    timed("sum", || K::sum(body, shortcut, false)).map(Some)
                }
                _ => Ok(None),
            }
        });
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
        Ok((wanted::<K>(output)?, pullback))
    }

    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Pullback<K>, EngineError> {
        Ok(self.run(input, pass, seen, false)?.1)
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
