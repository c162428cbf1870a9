//! A stage's parameters, gradients, optimizer state and running statistics.

use burn_backend::tensor::{Device, FloatTensor};
use burn_backend::{FloatDType, TensorMetadata};
use stagger_model::Parameter;

use crate::error::EngineError;
use crate::initial::initial_values;

use super::convert::{filled, to_device, to_scalar};
use super::kernels::Kernels;
use super::layer::BatchStatistics;

/// One parameter with its optimizer state.
pub(crate) struct Trained<B: Kernels> {
    pub info: Parameter,
    /// In the order of [`crate::Optimizer::slots`].
    pub slots: Vec<FloatTensor<B>>,
}

impl<B: Kernels> Trained<B> {
    pub(crate) fn new(
        info: Parameter,
        slots: usize,
        precision: FloatDType,
        device: &Device<B>,
    ) -> Self {
        let slots = (0..slots)
            .map(|_| filled::<B>(&info.shape, 0.0, precision, device))
            .collect();
        Self { info, slots }
    }

    pub(crate) fn initial(
        &self,
        seed: u64,
        precision: FloatDType,
        device: &Device<B>,
    ) -> FloatTensor<B> {
        to_device::<B>(
            &self.info.shape,
            initial_values(&self.info, seed),
            precision,
            device,
        )
    }
}

/// Gradients of a stage's parameters, summed over the backward passes since the last update.
pub(crate) struct Gradients<B: Kernels>(pub Vec<Option<FloatTensor<B>>>);

impl<B: Kernels> Gradients<B> {
    pub(crate) fn none(parameters: usize) -> Self {
        Self(vec![None; parameters])
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, gradient: FloatTensor<B>) {
        let slot = &mut self.0[parameter];
        *slot = Some(match slot.take() {
            Some(sum) => B::float_add(sum, gradient),
            None => gradient,
        });
    }

    /// The Euclidean norm over all of them.
    pub(crate) fn norm(&self) -> Result<f64, EngineError> {
        let mut squares = 0.0;
        for gradient in self.0.iter().flatten() {
            // Summing in f64 keeps the norm independent of how the stage's parameters are shaped.
            let gradient = B::float_cast(gradient.clone(), FloatDType::F64);
            squares += to_scalar::<B>(B::float_sum(B::float_mul(gradient.clone(), gradient)))?;
        }
        Ok(squares.sqrt())
    }

    /// Multiplies all of them.
    pub(crate) fn scale(&mut self, factor: f64) {
        for slot in &mut self.0 {
            *slot = slot
                .take()
                .map(|gradient| B::float_mul_scalar(gradient, factor.into()));
        }
    }
}

/// The running statistics of one batch normalisation, and how they are updated.
pub(crate) struct RunningStatistics<B: Kernels> {
    /// Prefix of the buffers' names.
    pub name: String,
    /// Weight of the new batch.
    pub momentum: f64,
    /// `[C]`.
    pub mean: FloatTensor<B>,
    /// Unbiased, `[C]`.
    pub variance: FloatTensor<B>,
    /// Batches seen.
    pub batches: u64,
}

impl<B: Kernels> RunningStatistics<B> {
    pub(crate) fn initial(
        name: String,
        channels: usize,
        momentum: f64,
        precision: FloatDType,
        device: &Device<B>,
    ) -> Self {
        let mean = filled::<B>(&[channels], 0.0, precision, device);
        let variance = filled::<B>(&[channels], 1.0, precision, device);
        Self {
            name,
            momentum,
            mean,
            variance,
            batches: 0,
        }
    }

    /// `running ← (1 − momentum)·running + momentum·batch`, with the unbiased variance (PyTorch).
    pub(crate) fn update(&mut self, seen: BatchStatistics<B>) {
        let BatchStatistics {
            mean,
            variance,
            count,
            ..
        } = seen;
        let unbiased = count as f64 / (count as f64 - 1.0);
        let blend = |running: &FloatTensor<B>, batch, factor: f64| {
            let kept = B::float_mul_scalar(running.clone(), (1.0 - self.momentum).into());
            B::float_add(
                kept,
                B::float_mul_scalar(batch, (self.momentum * factor).into()),
            )
        };
        self.mean = blend(&self.mean, mean, 1.0);
        self.variance = blend(&self.variance, variance, unbiased);
        self.batches += 1;
    }

    pub(crate) fn channels(&self) -> usize {
        self.mean.shape()[0]
    }
}
