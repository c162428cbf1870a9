//! A stage's parameters, gradients, optimizer state and running statistics.

use stagger_model::{Layer, Parameter, ParameterKind};

use crate::error::EngineError;
use crate::initial::initial_values;
use crate::layered::timing::timed;
use crate::precision::Precision;
use crate::tensor::HostTensor;

use super::kernels::Kernels;
use super::layer::BatchStatistics;

/// One parameter with its optimizer state. Its value is held by the stage, in the format of its passes.
pub(crate) struct Trained<K: Kernels> {
    pub info: Parameter,
    /// The exact value, where passes compute with a rounded one.
    pub master: Option<K::Tensor>,
    /// In the order of [`crate::Optimizer::slots`].
    pub slots: Vec<K::Tensor>,
    /// What the learning rate is multiplied by for it.
    pub rate_factor: f64,
}

impl<K: Kernels> Trained<K> {
    /// The parameter, its value for passes, and an optimizer state of 0.
    pub(crate) fn new(
        info: Parameter,
        value: HostTensor,
        slots: usize,
        precision: Precision,
        device: &K::Device,
    ) -> Result<(Self, K::Tensor), EngineError> {
        let slots = (0..slots).map(|_| K::filled(&info.shape, 0.0, precision.master(), device));
        let slots = slots.collect::<Result<_, _>>()?;
        let mut trained = Self {
            info,
            master: None,
            slots,
            rate_factor: 1.0,
        };
        let weight = trained.set(value, precision, device)?;
        Ok((trained, weight))
    }

    /// Takes over a value and gives it as passes take it.
    pub(crate) fn set(
        &mut self,
        value: HostTensor,
        precision: Precision,
        device: &K::Device,
    ) -> Result<K::Tensor, EngineError> {
        let exact = timed("upload", || K::upload(value, precision.master(), device))?;
        // Products take their operands in the format of the passes; batch normalisation its parameters as they are.
        let operand = !matches!(self.info.kind, ParameterKind::Scale | ParameterKind::Shift);
        if !operand || precision == precision.master() {
            return Ok(exact);
        }
        let rounded = K::cast(&exact, precision)?;
        self.master = Some(exact);
        Ok(rounded)
    }

    /// The values that an engine-independent seed gives it.
    pub(crate) fn initial(info: &Parameter, seed: u64) -> HostTensor {
        HostTensor {
            shape: info.shape.clone(),
            data: initial_values(info, seed),
        }
    }
}

/// Gradients of a stage's parameters, summed over the backward passes since the last update.
pub(crate) struct Gradients<K: Kernels>(pub Vec<Option<K::Tensor>>);

impl<K: Kernels> Gradients<K> {
    pub(crate) fn none(parameters: usize) -> Self {
        Self((0..parameters).map(|_| None).collect())
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, gradient: K::Tensor) -> Result<(), EngineError> {
        let slot = &mut self.0[parameter];
        *slot = Some(match slot.take() {
            Some(sum) => timed("gradient sum", || K::accumulate(sum, gradient))?,
            None => gradient,
        });
        Ok(())
    }

    /// The Euclidean norm over all of them.
    pub(crate) fn norm(&self) -> Result<f64, EngineError> {
        let all: Vec<&K::Tensor> = self.0.iter().flatten().collect();
        Ok(timed("clipping", || K::square_sum(&all))?.sqrt())
    }

    /// Multiplies all of them.
    pub(crate) fn scale(&mut self, factor: f64) -> Result<(), EngineError> {
        for slot in &mut self.0 {
            if let Some(gradient) = slot.take() {
                *slot = Some(timed("clipping", || K::scale(gradient, factor))?);
            }
        }
        Ok(())
    }
}

/// The running statistics of one batch normalisation, and how they are updated.
pub(crate) struct RunningStatistics<K: Kernels> {
    /// Prefix of the buffers' names.
    pub name: String,
    pub channels: usize,
    /// Weight of the new batch.
    pub momentum: f64,
    /// `[C]`.
    pub mean: K::Tensor,
    /// Unbiased, `[C]`.
    pub variance: K::Tensor,
    /// Batches seen.
    pub batches: u64,
}

impl<K: Kernels> RunningStatistics<K> {
    /// Those of every batch normalisation in these layers, in order.
    pub(crate) fn of_layers(
        layers: &[&Layer],
        precision: Precision,
        device: &K::Device,
    ) -> Result<Vec<Self>, EngineError> {
        let mut all = Vec::new();
        for layer in layers {
            layer.walk(&mut |layer| all.push(layer));
        }
        let norms = all.into_iter().filter_map(|layer| match layer {
            Layer::BatchNorm2d {
                name,
                channels,
                momentum,
                ..
            } => Some((name, *channels, *momentum)),
            _ => None,
        });
        norms
            .map(|(name, channels, momentum)| {
                Ok(Self {
                    name: name.clone(),
                    channels,
                    momentum,
                    mean: K::filled(&[channels], 0.0, precision.master(), device)?,
                    variance: K::filled(&[channels], 1.0, precision.master(), device)?,
                    batches: 0,
                })
            })
            .collect()
    }

    /// `running ← (1 − momentum)·running + momentum·batch`, with the unbiased variance (PyTorch).
    pub(crate) fn update(&mut self, seen: BatchStatistics<K>) -> Result<(), EngineError> {
        let BatchStatistics {
            mean,
            variance,
            count,
            ..
        } = seen;
        let unbiased = count as f64 / (count as f64 - 1.0);
        let keep = 1.0 - self.momentum;
        self.mean = timed("weighted sum", || {
            K::blend(self.mean.clone(), keep, mean, self.momentum)
        })?;
        self.variance = timed("weighted sum", || {
            K::blend(
                self.variance.clone(),
                keep,
                variance,
                self.momentum * unbiased,
            )
        })?;
        self.batches += 1;
        Ok(())
    }
}
