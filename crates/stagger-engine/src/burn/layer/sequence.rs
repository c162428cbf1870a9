//! Layers one after another, built from the model's list.

use burn_backend::tensor::FloatTensor;
use stagger_model::Layer as ModelLayer;

use crate::burn::kernels::{Convolution, Kernels, Subsample};
use crate::burn::parameters::Gradients;
use crate::error::EngineError;

use super::batch_norm::BatchNorm;
use super::conv::Conv;
use super::dropout::Dropout;
use super::flatten::Flatten;
use super::linear::Linear;
use super::pool::{GlobalAvgPool, MaxPool};
use super::relu::Relu;
use super::residual::Residual;
use super::subsample_pad::SubsamplePad;
use super::{BatchStatistics, Layer, Pass, Pullback};

/// Layers one after another.
pub(crate) struct Sequence<B: Kernels>(Vec<Box<dyn Layer<B>>>);

/// The ways back of a [`Sequence`], in forward order.
pub(crate) struct SequencePullback<B: Kernels>(Vec<Box<dyn Pullback<B>>>);

/// Hands out the indices of parameters and of running statistics in the order in which the model lists them.
#[derive(Default)]
pub(crate) struct Numbering {
    parameters: usize,
    statistics: usize,
}

impl Numbering {
    fn parameter(&mut self) -> usize {
        self.parameters += 1;
        self.parameters - 1
    }

    fn statistics(&mut self) -> usize {
        self.statistics += 1;
        self.statistics - 1
    }
}

impl<B: Kernels> Sequence<B> {
    /// Builds the layers. A ReLU right after a batch normalisation or a residual becomes part of it, which saves
    /// passes over memory.
    pub(crate) fn build<'a>(
        layers: impl IntoIterator<Item = &'a ModelLayer>,
        numbering: &mut Numbering,
    ) -> Result<Self, EngineError> {
        let mut built: Vec<Box<dyn Layer<B>>> = Vec::new();
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
                    bias,
                    ..
                } => Box::new(Conv {
                    weight: numbering.parameter(),
                    bias: bias.then(|| numbering.parameter()),
                    geometry: Convolution {
                        stride: *stride,
                        padding: *padding,
                    },
                }),
                ModelLayer::BatchNorm2d { name, epsilon, .. } => Box::new(BatchNorm {
                    name: name.clone(),
                    scale: numbering.parameter(),
                    shift: numbering.parameter(),
                    statistics: numbering.statistics(),
                    epsilon: *epsilon,
                    relu: takes_relu(),
                }),
                ModelLayer::Relu => Box::new(Relu),
                ModelLayer::Residual { body, shortcut } => Box::new(Residual {
                    body: Self::build(body, numbering)?,
                    shortcut: Self::build(shortcut, numbering)?,
                    relu: takes_relu(),
                }),
                ModelLayer::MaxPool2d {
                    kernel,
                    stride,
                    padding,
                } => Box::new(MaxPool {
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                }),
                ModelLayer::GlobalAvgPool => Box::new(GlobalAvgPool),
                ModelLayer::Flatten => Box::new(Flatten),
                ModelLayer::Linear { bias, .. } => Box::new(Linear {
                    weight: numbering.parameter(),
                    bias: bias.then(|| numbering.parameter()),
                }),
                ModelLayer::Dropout { name, probability } => Box::new(Dropout {
                    name: name.clone(),
                    probability: *probability,
                }),
                ModelLayer::SubsamplePad {
                    stride,
                    in_channels,
                    out_channels,
                } => {
                    let padding = (out_channels - in_channels) / 2;
                    Box::new(SubsamplePad(Subsample {
                        stride: *stride,
                        padding,
                    }))
                }
                other => {
                    let layer = other.label().to_owned();
                    return Err(EngineError::UnknownLayer {
                        layer,
                        engine: "burn",
                    });
                }
            });
        }
        Ok(Self(built))
    }

    pub(crate) fn forward(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        self.0
            .iter()
            .try_fold(input, |tensor, layer| layer.forward(tensor, pass))
    }

    pub(crate) fn record(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
        seen: &mut Vec<BatchStatistics<B>>,
    ) -> Result<(FloatTensor<B>, SequencePullback<B>), EngineError> {
        let mut tensor = input;
        let mut pullbacks = Vec::with_capacity(self.0.len());
        for layer in &self.0 {
            let (output, pullback) = layer.record(tensor, pass, seen)?;
            tensor = output;
            pullbacks.push(pullback);
        }
        Ok((tensor, SequencePullback(pullbacks)))
    }

    pub(crate) fn evaluate(
        &self,
        input: FloatTensor<B>,
        pass: &Pass<'_, B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        self.0
            .iter()
            .try_fold(input, |tensor, layer| layer.evaluate(tensor, pass))
    }
}

impl<B: Kernels> SequencePullback<B> {
    /// Pulls a gradient back through all layers. Each layer's memory is freed as soon as it is done.
    pub(crate) fn pull(
        self,
        output_grad: FloatTensor<B>,
        gradients: &mut Gradients<B>,
        wants_input: bool,
    ) -> Option<FloatTensor<B>> {
        let mut grad = Some(output_grad);
        for (index, pullback) in self.0.into_iter().enumerate().rev() {
            // Only the first layer may leave its input's gradient out: all others feed the one before.
            grad = pullback.pull(grad?, gradients, wants_input || index > 0);
        }
        grad
    }
}
