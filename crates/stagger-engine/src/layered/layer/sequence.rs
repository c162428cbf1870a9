//! Layers in a row, built from the model's data.

use stagger_model::Layer as ModelLayer;

use crate::error::EngineError;
use crate::layered::kernels::{Convolution, Kernels, Subsample, Window};
use crate::layered::product::Collected;

use super::batch_norm::BatchNorm;
use super::concat::Concat;
use super::conv::Conv;
use super::dropout::Dropout;
use super::flatten::Flatten;
use super::linear::Linear;
use super::pool::{AvgPool, GlobalAvgPool, MaxPool};
use super::relu::{Relu, Relu6};
use super::residual::{Join, Residual};
use super::subsample_pad::SubsamplePad;
use super::{BatchStatistics, Layer, Pass, Pullback};

/// Layers one after another.
pub(crate) struct Sequence<K: Kernels>(Vec<Box<dyn Layer<K>>>);

/// The ways back of a [`Sequence`], in forward order.
pub(crate) struct SequencePullback<K: Kernels>(Vec<Pullback<K>>);

/// What building layers needs to know, and the next indices of parameters and of running statistics, in the order in which the model
/// lists them.
pub(crate) struct Building {
    winograd: bool,
    parameters: usize,
    statistics: usize,
}

impl Building {
    /// From the first layer on; see [`Convolution::winograd`].
    pub(crate) fn new(winograd: bool) -> Self {
        Self {
            winograd,
            parameters: 0,
            statistics: 0,
        }
    }

    fn parameter(&mut self) -> usize {
        self.parameters += 1;
        self.parameters - 1
    }

    fn statistics(&mut self) -> usize {
        self.statistics += 1;
        self.statistics - 1
    }

    fn batch_norm(&mut self, name: &str, epsilon: f64, relu: bool) -> BatchNorm {
        BatchNorm {
            name: name.to_owned(),
            scale: self.parameter(),
            shift: self.parameter(),
            statistics: self.statistics(),
            epsilon,
            relu,
        }
    }
}

impl<K: Kernels> Sequence<K> {
    /// Builds the layers. A ReLU right after a batch normalisation or a residual becomes part of it, and the sum of a
    /// residual becomes part of the batch normalisation that ends its body: both save passes over memory.
    pub(crate) fn build<'a>(
        layers: impl IntoIterator<Item = &'a ModelLayer>,
        building: &mut Building,
    ) -> Self {
        let mut built: Vec<Box<dyn Layer<K>>> = Vec::new();
        let mut layers = layers.into_iter().peekable();
        while let Some(layer) = layers.next() {
            let mut takes_relu = || {
                layers
                    .next_if(|next| matches!(next, ModelLayer::Relu))
                    .is_some()
            };
            built.push(match layer {
                ModelLayer::Conv2d {
                    stride,
                    padding,
                    groups,
                    bias,
                    ..
                } => Box::new(Conv {
                    weight: building.parameter(),
                    bias: bias.then(|| building.parameter()),
                    geometry: Convolution {
                        stride: *stride,
                        padding: *padding,
                        groups: *groups,
                        winograd: building.winograd,
                    },
                }),
                ModelLayer::BatchNorm2d { name, epsilon, .. } => {
                    Box::new(building.batch_norm(name, *epsilon, takes_relu()))
                }
                ModelLayer::Relu => Box::new(Relu),
                ModelLayer::Relu6 => Box::new(Relu6),
                ModelLayer::Residual { body, shortcut } => {
                    Box::new(residual(body, shortcut, takes_relu(), building))
                }
                ModelLayer::Concat { body } => Box::new(Concat {
                    body: Sequence::build(body, building),
                }),
                ModelLayer::MaxPool2d {
                    kernel,
                    stride,
                    padding,
                } => Box::new(MaxPool(Window {
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                })),
                ModelLayer::AvgPool2d {
                    kernel,
                    stride,
                    padding,
                } => Box::new(AvgPool(Window {
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                })),
                ModelLayer::GlobalAvgPool => Box::new(GlobalAvgPool),
                ModelLayer::Flatten => Box::new(Flatten),
                ModelLayer::Linear { bias, .. } => Box::new(Linear {
                    weight: building.parameter(),
                    bias: bias.then(|| building.parameter()),
                }),
                ModelLayer::Dropout { name, probability } => Box::new(Dropout {
                    name: name.clone(),
                    probability: *probability,
                }),
                ModelLayer::SubsamplePad {
                    stride,
                    in_channels,
                    out_channels,
                } => Box::new(SubsamplePad(Subsample {
                    stride: *stride,
                    padding: (out_channels - in_channels) / 2,
                })),
            });
        }
        Self(built)
    }

    pub(crate) fn forward(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
    ) -> Result<K::Tensor, EngineError> {
        self.0
            .iter()
            .try_fold(input, |tensor, layer| layer.forward(tensor, pass))
    }

    pub(crate) fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<(K::Tensor, SequencePullback<K>), EngineError> {
        let mut tensor = input;
        let mut pullbacks = Vec::with_capacity(self.0.len());
        for layer in &self.0 {
            let (output, pullback) = layer.record(tensor, pass, seen)?;
            tensor = output;
            pullbacks.push(pullback);
        }
        Ok((tensor, SequencePullback(pullbacks)))
    }

    /// As [`Sequence::record`] when the output is not read: the last layer leaves out what only its output needs.
    pub(crate) fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<SequencePullback<K>, EngineError> {
        let mut pullbacks = Vec::with_capacity(self.0.len());
        if let Some((last, layers)) = self.0.split_last() {
            let mut tensor = input;
            for layer in layers {
                let (output, pullback) = layer.record(tensor, pass, seen)?;
                tensor = output;
                pullbacks.push(pullback);
            }
            pullbacks.push(last.replay(tensor, pass, seen)?);
        }
        Ok(SequencePullback(pullbacks))
    }

    pub(crate) fn evaluate(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
    ) -> Result<K::Tensor, EngineError> {
        self.0
            .iter()
            .try_fold(input, |tensor, layer| layer.evaluate(tensor, pass))
    }
}

/// Builds a residual; the model numbers the body's parameters before the shortcut's.
fn residual<K: Kernels>(
    body: &[ModelLayer],
    shortcut: &[ModelLayer],
    relu: bool,
    building: &mut Building,
) -> Residual<K> {
    let (body, join) = match body.split_last() {
        Some((ModelLayer::BatchNorm2d { name, epsilon, .. }, before)) => {
            let before = Sequence::build(before, building);
            let join = Join::Normalization(building.batch_norm(name, *epsilon, relu));
            (before, join)
        }
        _ => (Sequence::build(body, building), Join::Sum { relu }),
    };
    Residual {
        body,
        shortcut: Sequence::build(shortcut, building),
        join,
    }
}

impl<K: Kernels> SequencePullback<K> {
    /// Pulls a gradient back through all layers. Each layer's memory is freed as soon as it is done.
    pub(crate) fn pull(
        self,
        output_grad: K::Tensor,
        gradients: &mut Collected<'_, K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let mut grad = Some(output_grad);
        for (index, pullback) in self.0.into_iter().enumerate().rev() {
            let Some(output_grad) = grad else { break };
            // Only the first layer may leave its input's gradient out: all others feed the one before.
            grad = pullback(output_grad, gradients, wants_input || index > 0)?;
        }
        Ok(grad)
    }
}
