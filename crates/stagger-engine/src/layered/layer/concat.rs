//! The input beside what layers make of it.

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, Sequence, SequencePullback, sides};

/// `[x, body(x)]` along channels.
pub(super) struct Concat<K: Kernels> {
    pub body: Sequence<K>,
}

impl<K: Kernels> Concat<K> {
    /// The way back; the input had `channels` channels.
    fn pullback(channels: usize, body: SequencePullback<K>) -> Pullback<K> {
        Box::new(move |output_grad, gradients, wants_input| {
            let run = |first, len| {
                let grad = output_grad.clone();
                timed("concat backward", || K::channel_run(grad, first, len))
            };
            let all = sides::<K>(&output_grad)[1];
            let of_body = run(channels, all - channels)?;
            let of_input = wants_input.then(|| run(0, channels)).transpose()?;
            drop(output_grad);
            match (body.pull(of_body, gradients, wants_input)?, of_input) {
                (Some(through_body), Some(beside)) => {
                    timed("sum", || K::sum(beside, through_body, false)).map(Some)
                }
                _ => Ok(None),
            }
        })
    }
}

impl<K: Kernels> Layer<K> for Concat<K> {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let body = self.body.forward(input.clone(), pass)?;
        timed("concat", || K::concat(input, body))
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let channels = sides::<K>(&input)[1];
        let (output, body) = self.body.record(input.clone(), pass, seen)?;
        let output = timed("concat", || K::concat(input, output))?;
        Ok((output, Self::pullback(channels, body)))
    }

    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Pullback<K>, EngineError> {
        let channels = sides::<K>(&input)[1];
        let body = self.body.replay(input, pass, seen)?;
        Ok(Self::pullback(channels, body))
    }

    fn evaluate(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        let body = self.body.evaluate(input.clone(), pass)?;
        timed("concat", || K::concat(input, body))
    }
}
