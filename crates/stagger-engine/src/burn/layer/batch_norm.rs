//! Batch normalisation, with the ReLU that follows it.

use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;

use crate::burn::kernels::{Kernels, Normalization, Normalized};
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::{BatchStatistics, Layer, Pass, Pullback, Recorded};

/// Batch normalisation, with indices of its parameters and running statistics.
pub(super) struct BatchNorm {
    pub name: String,
    pub scale: usize,
    pub shift: usize,
    pub statistics: usize,
    pub epsilon: f64,
    pub relu: bool,
}

struct BatchNormPullback<B: Kernels> {
    scale: usize,
    shift: usize,
    with: Normalization<B>,
    input: FloatTensor<B>,
    result: Normalized<B>,
}

impl BatchNorm {
    fn normalization<B: Kernels>(&self, pass: &Pass<'_, B>) -> Normalization<B> {
        Normalization {
            scale: pass.weights[self.scale].clone(),
            shift: pass.weights[self.shift].clone(),
            epsilon: self.epsilon,
            relu: self.relu,
        }
    }

    /// Values per channel, of which training needs at least two: one alone always becomes the shift.
    fn count<B: Kernels>(&self, input: &FloatTensor<B>) -> Result<usize, EngineError> {
        let [samples, _, height, width] = input.shape().dims();
        match samples * height * width {
            values @ 0..=1 => Err(EngineError::OneValuePerChannel {
                layer: self.name.clone(),
                values,
            }),
            values => Ok(values),
        }
    }
}

impl<B: Kernels> Layer<B> for BatchNorm {
    fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        self.count::<B>(&input)?;
        Ok(B::normalize(input, &self.normalization(pass)).output)
    }

    fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        seen: &mut Vec<BatchStatistics<B>>,
    ) -> Result<Recorded<B>, EngineError> {
        let count = self.count::<B>(&input)?;
        let with = self.normalization(pass);
        let mut result = B::normalize(input.clone(), &with);
        let (mean, variance) = (result.mean.clone(), result.variance.clone());
        seen.push(BatchStatistics {
            index: self.statistics,
            mean,
            variance,
            count,
        });
        let output = result.output.clone();
        if !B::normalize_backward_reads_output(&with) {
            // Any tensor will do in its place; this one is small and there already.
            result.output = result.mean.clone();
        }
        let (scale, shift) = (self.scale, self.shift);
        Ok((
            output,
            Box::new(BatchNormPullback {
                scale,
                shift,
                with,
                input,
                result,
            }),
        ))
    }

    fn evaluate(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let statistics = &pass.statistics[self.statistics];
        let (mean, variance) = (statistics.mean.clone(), statistics.variance.clone());
        Ok(B::normalize_by(
            input,
            &self.normalization(pass),
            mean,
            variance,
        ))
    }
}

impl<B: Kernels> Pullback<B> for BatchNormPullback<B> {
    fn pull(
        self: Box<Self>,
        output_grad: FloatTensor<B>,
        gradients: &mut Gradients<B>,
        _: bool,
    ) -> Option<FloatTensor<B>> {
        let Self {
            scale,
            shift,
            with,
            input,
            result,
        } = *self;
        let grads = B::normalize_backward(input, result, &with, output_grad);
        gradients.add(scale, grads.scale);
        gradients.add(shift, grads.shift);
        Some(grads.input)
    }
}
