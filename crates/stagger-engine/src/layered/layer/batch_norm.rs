//! Batch normalisation, with the residual sum and the ReLU that follow it.

mod across;

use crate::error::EngineError;
use crate::layered::kernels::{Kernels, Normalization, NormalizationTape, Normalized};
use crate::layered::product::Collected;
use crate::layered::timing::timed;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded, sides};
use across::{Share, Whole};

/// Batch normalisation, with indices of its parameters and running statistics.
pub(super) struct BatchNorm {
    pub name: String,
    pub scale: usize,
    pub shift: usize,
    pub statistics: usize,
    pub epsilon: f64,
    pub relu: bool,
}

/// The way back through a batch normalisation.
pub(super) struct BatchNormPullback<K: Kernels> {
    scale: usize,
    shift: usize,
    with: Normalization<K::Tensor>,
    tape: NormalizationTape<K::Tensor>,
    /// Where the batch is that of several replicas.
    share: Option<Share<K>>,
}

impl BatchNorm {
    fn normalization<K: Kernels>(&self, pass: &Pass<'_, K>) -> Normalization<K::Tensor> {
        Normalization {
            scale: pass.weights[self.scale].clone(),
            shift: pass.weights[self.shift].clone(),
            epsilon: self.epsilon,
            relu: self.relu,
        }
    }

    /// Values per channel, of which training needs at least two: one alone always becomes the shift.
    fn count<K: Kernels>(&self, input: &K::Tensor) -> Result<usize, EngineError> {
        let [samples, _, height, width] = sides::<K>(input);
        self.enough(samples * height * width)
    }

    fn enough(&self, values: usize) -> Result<usize, EngineError> {
        match values {
            0..=1 => Err(EngineError::OneValuePerChannel {
                layer: self.name.clone(),
                values,
            }),
            values => Ok(values),
        }
    }

    /// The statistics of the whole batch, where there are replicas to normalise it with.
    fn whole<K: Kernels>(
        &self,
        input: &K::Tensor,
        with: &Normalization<K::Tensor>,
        pass: &Pass<'_, K>,
    ) -> Result<Option<Whole<K>>, EngineError> {
        let Some(replicas) = pass.replicas else {
            return Ok(None);
        };
        let whole = Whole::of(input, with, pass, replicas)?;
        self.enough(whole.count)?;
        Ok(Some(whole))
    }

    /// Training forward, with what is added before the ReLU.
    pub(super) fn forward_plus<K: Kernels>(
        &self,
        input: K::Tensor,
        addend: Option<K::Tensor>,
        pass: &Pass<'_, K>,
    ) -> Result<K::Tensor, EngineError> {
        let with = self.normalization(pass);
        if let Some(Whole { mean, variance, .. }) = self.whole(&input, &with, pass)? {
            return timed("normalization", || {
                K::normalize_by(input, &with, mean, variance, addend)
            });
        }
        self.count::<K>(&input)?;
        let result = timed("normalization", || K::normalize(input, &with, addend, true))?;
        wanted::<K>(result.output)
    }

    /// As [`BatchNorm::forward_plus`], with the way back. The output is `None` when it is not wanted.
    pub(super) fn record_plus<K: Kernels>(
        &self,
        input: K::Tensor,
        addend: Option<K::Tensor>,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
        wants_output: bool,
    ) -> Result<(Option<K::Tensor>, BatchNormPullback<K>), EngineError> {
        let with = self.normalization(pass);
        let added = addend.is_some();
        let keeps_output = K::keeps_output(&with, added);
        let kept = (self.relu && !keeps_output)
            .then(|| addend.clone())
            .flatten();
        let needs_output = wants_output || keeps_output;
        let (result, count, share) = match self.whole(&input, &with, pass)? {
            Some(whole) => {
                let output = needs_output.then(|| {
                    let (mean, variance) = (whole.mean.clone(), whole.variance.clone());
                    timed("normalization", || {
                        K::normalize_by(input.clone(), &with, mean, variance, addend)
                    })
                });
                let result = Normalized {
                    output: output.transpose()?,
                    mean: whole.mean,
                    variance: whole.variance,
                };
                (result, whole.count, Some(whole.share))
            }
            None => {
                let count = self.count::<K>(&input)?;
                let result = timed("normalization", || {
                    K::normalize(input.clone(), &with, addend, needs_output)
                })?;
                (result, count, None)
            }
        };
        seen.push(BatchStatistics {
            index: self.statistics,
            mean: result.mean.clone(),
            variance: result.variance.clone(),
            count,
        });
        let output = result.output.clone();
        let result = Normalized {
            output: result.output.filter(|_| keeps_output),
            ..result
        };
        let pullback = BatchNormPullback {
            scale: self.scale,
            shift: self.shift,
            with,
            tape: NormalizationTape {
                input,
                addend: kept,
                added,
                result,
            },
            share,
        };
        Ok((output, pullback))
    }

    /// Inference forward, with what is added before the ReLU.
    pub(super) fn evaluate_plus<K: Kernels>(
        &self,
        input: K::Tensor,
        addend: Option<K::Tensor>,
        pass: &Pass<'_, K>,
    ) -> Result<K::Tensor, EngineError> {
        let statistics = &pass.statistics[self.statistics];
        let (mean, variance) = (statistics.mean.clone(), statistics.variance.clone());
        timed("normalization", || {
            K::normalize_by(input, &self.normalization(pass), mean, variance, addend)
        })
    }
}

/// An output that was asked for.
pub(super) fn wanted<K: Kernels>(output: Option<K::Tensor>) -> Result<K::Tensor, EngineError> {
    output.ok_or_else(|| EngineError::Backend {
        message: format!("engine {} left out an output that was asked for", K::ENGINE),
    })
}

impl<K: Kernels> BatchNormPullback<K> {
    /// The way back of a batch normalisation without an addend.
    fn alone(self) -> Pullback<K> {
        Box::new(move |output_grad, gradients, _| {
            Ok(Some(self.pull_plus(output_grad, gradients)?.0))
        })
    }

    /// Adds to the parameters' gradients, and gives those of the input and of the addend, if there was one.
    pub(super) fn pull_plus(
        self,
        output_grad: K::Tensor,
        gradients: &mut Collected<'_, K>,
    ) -> Result<(K::Tensor, Option<K::Tensor>), EngineError> {
        let normalized = self.share.map(|share| {
            let NormalizationTape { input, result, .. } = &self.tape;
            let normalized = across::Normalized {
                input: input.clone(),
                scale: self.with.scale.clone(),
                epsilon: self.with.epsilon,
                mean: result.mean.clone(),
                variance: result.variance.clone(),
            };
            (share, normalized)
        });
        let grads = timed("normalization backward", || {
            K::normalize_backward(self.tape, &self.with, output_grad)
        })?;
        let input_grad = match normalized {
            None => grads.input,
            Some((share, normalized)) => {
                share.complete(grads.input, [&grads.scale, &grads.shift], normalized)?
            }
        };
        gradients.add(self.scale, grads.scale)?;
        gradients.add(self.shift, grads.shift)?;
        Ok((input_grad, grads.addend))
    }
}

impl<K: Kernels> Layer<K> for BatchNorm {
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        self.forward_plus(input, None, pass)
    }

    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError> {
        let (output, pullback) = self.record_plus(input, None, pass, seen, true)?;
        Ok((wanted::<K>(output)?, pullback.alone()))
    }

    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Pullback<K>, EngineError> {
        let (_, pullback) = self.record_plus(input, None, pass, seen, false)?;
        Ok(pullback.alone())
    }

    fn evaluate(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        self.evaluate_plus(input, None, pass)
    }
}
