//! Sum of two branches, with the ReLU that follows it.

use burn_backend::tensor::FloatTensor;

use crate::burn::kernels::Kernels;
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::relu::ReluPullback;
use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, Sequence, SequencePullback};

/// `body(x) + shortcut(x)`; an empty sequence is the identity.
pub(super) struct Residual<B: Kernels> {
    pub body: Sequence<B>,
    pub shortcut: Sequence<B>,
    pub relu: bool,
}

struct ResidualPullback<B: Kernels> {
    body: SequencePullback<B>,
    shortcut: SequencePullback<B>,
    relu: Option<ReluPullback<B>>,
}

impl<B: Kernels> Layer<B> for Residual<B> {
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let body = self.body.forward(input.clone(), pass)?;
        Ok(B::sum(body, self.shortcut.forward(input, pass)?, self.relu))
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        seen: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let (body_output, body) = self.body.record(input.clone(), pass, seen)?;
        let (shortcut_output, shortcut) = self.shortcut.record(input, pass, seen)?;
        let output = B::sum(body_output, shortcut_output, self.relu);
        let relu = self.relu.then(|| ReluPullback {
            output: output.clone(),
        });
        Ok((
            output,
            Box::new(ResidualPullback {
                body,
                shortcut,
                relu,
            }),
        ))
    }

    fn evaluate(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let body = self.body.evaluate(input.clone(), pass)?;
        Ok(B::sum(
            body,
            self.shortcut.evaluate(input, pass)?,
            self.relu,
        ))
    }
}

impl<B: Kernels> Pullback<B> for ResidualPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        gradients: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        let Self {
            body,
            shortcut,
            relu,
        } = *self;
        let grad = match relu {
            Some(relu) => Box::new(relu).pull(output_grad, gradients, true)?,
            None => output_grad,
        };
        let through_body = body.pull(grad.clone(), gradients, wants_input);
        let through_shortcut = shortcut.pull(grad, gradients, wants_input);
        wants_input.then(|| Some(B::sum(through_body?, through_shortcut?, false)))?
    }
}
