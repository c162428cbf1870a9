//! A stage over a Burn backend.

mod exchange;

use burn_backend::tensor::{Device, FloatTensor};
use burn_backend::{FloatDType, TensorMetadata};
use stagger_model::Layer as ModelLayer;

use crate::error::EngineError;
use crate::loss::{Loss, LossOnHost, Score, cross_entropy};
use crate::optimizer::Optimizer;
use crate::stage::{Stage, StageSpec, UpdateReport};
use crate::state::StageState;
use crate::tensor::HostTensor;

use super::activation::BurnActivation;
use super::convert::{to_device, to_host};
use super::kernels::Kernels;
use super::layer::{Pass, Sequence, SequencePullback};
use super::parameters::{Gradients, RunningStatistics, Trained};
use super::step::step;

/// A slice of a model on one device of backend `B`; see [`Stage`].
pub struct BurnStage<B: Kernels> {
    label: String,
    layers: Sequence<B>,
    weights: Vec<FloatTensor<B>>,
    trained: Vec<Trained<B>>,
    gradients: Gradients<B>,
    statistics: Vec<RunningStatistics<B>>,
    optimizer: Optimizer,
    /// Updates since the optimizer started.
    steps: u64,
    clip_norm: Option<f64>,
    label_smoothing: f64,
    seed: u64,
    first: bool,
    /// Shapes of one sample.
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    precision: FloatDType,
    device: Device<B>,
}

/// What a recorded pass keeps: per layer the tensors that its backward reads, with the weights of that pass.
pub struct BurnGraph<B: Kernels>(SequencePullback<B>);

/// Handles of all parameters of a stage at one version. Cheap: values are copied only when an update has to write to
/// weights that someone still holds.
#[derive(Clone, Debug)]
pub struct Weights<B: Kernels>(Vec<FloatTensor<B>>);

impl<B: Kernels> BurnStage<B> {
    /// Builds the stage on a device, with initial weights drawn by (seed, parameter name), in `f32`.
    ///
    /// # Errors
    /// As [`StageSpec::validate`], and for a layer that this engine does not have.
    pub fn new(spec: &StageSpec<'_>, device: Device<B>) -> Result<Self, EngineError> {
        Self::with_precision(spec, device, FloatDType::F32)
    }

    pub(crate) fn with_precision(
        spec: &StageSpec<'_>,
        device: Device<B>,
        precision: FloatDType,
    ) -> Result<Self, EngineError> {
        let (input_shape, output_shape) = spec.validate()?;
        let blocks = &spec.model.blocks[spec.blocks.clone()];
        let layers: Vec<&ModelLayer> = blocks.iter().flat_map(|block| &block.layers).collect();
        let slots = spec.optimizer.slots().len();
        let parameters = spec.model.parameters(spec.blocks.clone());
        let trained: Vec<Trained<B>> = parameters
            .into_iter()
            .map(|info| Trained::new(info, slots, precision, &device))
            .collect();
        let weights: Vec<_> = trained
            .iter()
            .map(|each| each.initial(spec.seed, precision, &device))
            .collect();
        let mut statistics = Vec::new();
        for layer in &layers {
            layer.walk(&mut |layer| {
                if let ModelLayer::BatchNorm2d {
                    name,
                    channels,
                    momentum,
                    ..
                } = layer
                {
                    let (name, channels, momentum) = (name.clone(), *channels, *momentum);
                    let initial =
                        RunningStatistics::initial(name, channels, momentum, precision, &device);
                    statistics.push(initial);
                }
            });
        }
        Ok(Self {
            label: spec.label(),
            layers: Sequence::build(layers, &mut Default::default())?,
            gradients: Gradients::none(weights.len()),
            weights,
            trained,
            statistics,
            optimizer: spec.optimizer.clone(),
            steps: 0,
            clip_norm: spec.clip_norm,
            label_smoothing: spec.label_smoothing,
            seed: spec.seed,
            first: spec.first,
            input_shape,
            output_shape,
            precision,
            device,
        })
    }

    /// The parameters as they are now.
    pub fn weights(&self) -> Weights<B> {
        Weights(self.weights.clone())
    }

    /// Runs the following passes on other weights of this stage, such as an older version or a prediction, and gives
    /// back the present ones. Gradients, optimizer state and running statistics stay.
    pub fn replace_weights(&mut self, weights: Weights<B>) -> Weights<B> {
        Weights(std::mem::replace(&mut self.weights, weights.0))
    }

    fn pass(&self, batch: usize) -> Pass<'_, B> {
        Pass {
            weights: &self.weights,
            statistics: &self.statistics,
            seed: self.seed,
            batch,
            precision: self.precision,
            device: &self.device,
        }
    }

    fn checked(
        &self,
        what: &'static str,
        expected: &[usize],
        tensor: &FloatTensor<B>,
    ) -> Result<FloatTensor<B>, EngineError> {
        let found = tensor.shape().to_vec();
        if found.first().is_some_and(|&samples| samples > 0) && found[1..] == *expected {
            return Ok(tensor.clone());
        }
        let (stage, expected) = (self.label.clone(), expected.to_vec());
        Err(EngineError::Shape {
            what,
            stage,
            expected,
            found,
        })
    }

    /// The logits' shape, and their loss.
    fn judge(
        &self,
        logits: &BurnActivation<B>,
        labels: &[usize],
        smoothing: f64,
    ) -> Result<(Vec<usize>, LossOnHost), EngineError> {
        let logits = to_host::<B>(logits.primitive().clone())?;
        let &[_, classes] = logits.shape.as_slice() else {
            return Err(EngineError::Labels {
                labels: labels.len(),
                logits: logits.shape,
            });
        };
        let loss = cross_entropy(&logits.data, classes, labels, smoothing)?;
        Ok((logits.shape, loss))
    }

    fn input(&self, input: &BurnActivation<B>) -> Result<FloatTensor<B>, EngineError> {
        self.checked("input", &self.input_shape, input.primitive())
    }
}

impl<B: Kernels> Stage for BurnStage<B> {
    type Activation = BurnActivation<B>;
    type Graph = BurnGraph<B>;

    fn upload(&self, host: HostTensor) -> Result<Self::Activation, EngineError> {
        host.check()?;
        let tensor = to_device::<B>(&host.shape, host.data, self.precision, &self.device);
        Ok(BurnActivation::from_primitive(tensor))
    }

    fn forward(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Activation, EngineError> {
        let output = self.layers.forward(self.input(input)?, &self.pass(batch))?;
        Ok(BurnActivation::from_primitive(output))
    }

    fn record(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<(Self::Activation, Self::Graph), EngineError> {
        let mut seen = Vec::with_capacity(self.statistics.len());
        let pass = self.pass(batch);
        let (output, graph) = self.layers.record(self.input(input)?, &pass, &mut seen)?;
        for statistics in seen {
            self.statistics[statistics.index].update(statistics);
        }
        Ok((BurnActivation::from_primitive(output), BurnGraph(graph)))
    }

    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<Option<Self::Activation>, EngineError> {
        self.checked(
            "output gradient",
            &self.output_shape,
            output_grad.primitive(),
        )?;
        let grad = output_grad.into_primitive();
        let input_grad = graph.0.pull(grad, &mut self.gradients, !self.first);
        Ok(input_grad
            .filter(|_| !self.first)
            .map(BurnActivation::from_primitive))
    }

    fn loss(
        &self,
        logits: &Self::Activation,
        labels: &[usize],
    ) -> Result<Loss<Self::Activation>, EngineError> {
        let (shape, loss) = self.judge(logits, labels, self.label_smoothing)?;
        let grad = HostTensor {
            shape,
            data: loss.grad,
        };
        Ok(Loss {
            value: loss.value,
            grad: self.upload(grad)?,
            correct_top1: loss.correct_top1,
            correct_top5: loss.correct_top5,
        })
    }

    fn score(&self, logits: &Self::Activation, labels: &[usize]) -> Result<Score, EngineError> {
        let (_, loss) = self.judge(logits, labels, 0.0)?;
        Ok(Score {
            loss: loss.value,
            correct_top1: loss.correct_top1,
            correct_top5: loss.correct_top5,
        })
    }

    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        let parameters = self.weights.len();
        let mut gradients = std::mem::replace(&mut self.gradients, Gradients::none(parameters));
        if parameters > 0 && gradients.0.iter().all(Option::is_none) {
            return Err(EngineError::NoGradient {
                stage: self.label.clone(),
            });
        }
        let mut report = UpdateReport::default();
        if let Some(limit) = self.clip_norm {
            let norm = gradients.norm()?;
            report.gradient_norm = Some(norm);
            if norm > limit {
                // 1e-6 as in PyTorch's clip_grad_norm_.
                gradients.scale(limit / (norm + 1e-6));
            }
        }
        self.steps += 1;
        let each = self
            .weights
            .iter_mut()
            .zip(&mut self.trained)
            .zip(gradients.0);
        for ((weight, trained), gradient) in each {
            let Some(gradient) = gradient else { continue };
            let slots = &mut trained.slots;
            let old = weight.clone();
            *weight = step::<B>(
                &self.optimizer,
                old,
                gradient,
                slots,
                self.steps,
                learning_rate,
            );
        }
        B::settle();
        Ok(report)
    }

    fn evaluate(&mut self, input: &Self::Activation) -> Result<Self::Activation, EngineError> {
        let output = self.layers.evaluate(self.input(input)?, &self.pass(0))?;
        B::settle();
        Ok(BurnActivation::from_primitive(output))
    }

    fn export(&self) -> Result<StageState, EngineError> {
        self.export_state()
    }

    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        self.import_state(state)
    }
}
