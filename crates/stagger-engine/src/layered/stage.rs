//! A stage that runs its layers over an engine's kernels.

mod backward;
mod exchange;
mod frozen;
mod statistics;
mod weights;

use std::sync::Arc;

use stagger_model::{Layer as ModelLayer, synthesizer};

use crate::error::EngineError;
use crate::layered::timing::timed;
use crate::loss::{Loss, LossOnHost, MixedLabels, MseLoss, Score, mixed_cross_entropy};
use crate::optimizer::Optimizer;
use crate::precision::Precision;
use crate::profile::Profile;
use crate::replicas::AcrossReplicas;
use crate::stage::{Activation, Distance, Stage, StageSpec, UpdateReport};
use crate::state::StageState;
use crate::tensor::HostTensor;

use super::activation::LayeredActivation;
use super::kernels::{Kernels, ParameterStep};
use super::layer::{Building, Pass, Sequence, SequencePullback};
use super::parameters::{Gradients, RunningStatistics, Trained};
use super::timing;

pub use backward::LayeredPending;
pub use statistics::Statistics;
use weights::RunningMean;
pub use weights::{Position, Weights};

/// A slice of a model on one device, by the kernels `K`; see [`Stage`].
pub struct LayeredStage<K: Kernels> {
    label: String,
    layers: Sequence<K>,
    trained: Vec<Trained<K>>,
    /// The parameters as passes take them.
    weights: Vec<K::Tensor>,
    gradients: Gradients<K>,
    statistics: Vec<RunningStatistics<K>>,
    drift: RunningMean<K>,
    average: RunningMean<K>,
    optimizer: Optimizer,
    /// Updates since the optimizer started.
    steps: u64,
    clip_norm: Option<f64>,
    label_smoothing: f64,
    frozen: bool,
    seed: u64,
    first: bool,
    /// Shapes of one sample.
    input_shape: Vec<usize>,
    output_shape: Vec<usize>,
    precision: Precision,
    profiled: bool,
    device: K::Device,
    replicas: Option<Arc<dyn AcrossReplicas>>,
}

/// What a recorded pass keeps: per layer the tensors that its backward reads, with the weights of that pass.
pub struct LayeredGraph<K: Kernels>(Recorded<K>);

enum Recorded<K: Kernels> {
    Pass(SequencePullback<K>),
    /// The shape of a frozen stage's input.
    Frozen(Vec<usize>),
}

impl<K: Kernels> LayeredStage<K> {
    /// Builds the stage on a device, with initial weights drawn by (seed, parameter name). Call it on the thread that
    /// will run the stage.
    ///
    /// # Errors
    /// As [`StageSpec::validate`], for a format that this engine does not have, and when the device fails.
    pub fn new(spec: &StageSpec<'_>, device: K::Device) -> Result<Self, EngineError> {
        let (input_shape, output_shape) = spec.validate()?;
        let precision = spec.precision;
        K::prepare(&device, precision)?;
        if spec.profiled {
            timing::start();
        }
        let blocks = &spec.model.blocks[spec.blocks.clone()];
        let layers: Vec<&ModelLayer> = blocks.iter().flat_map(|block| &block.layers).collect();
        let slots = spec.optimizer.slots().len();
        let (mut trained, mut weights) = (Vec::new(), Vec::new());
        for info in spec.model.parameters(spec.blocks.clone()) {
            let value = Trained::<K>::initial(&info, spec.seed);
            let is_of_head =
                info.name.rsplit_once('.').map(|(layer, _)| layer) == spec.model.head();
            let (mut parameter, weight) = Trained::new(info, value, slots, precision, &device)?;
            if is_of_head {
                parameter.rate_factor = spec.head_rate_factor;
            }
            trained.push(parameter);
            weights.push(weight);
        }
        let statistics = RunningStatistics::of_layers(&layers, precision, &device)?;
        Ok(Self {
            label: spec.label(),
            layers: Sequence::build(layers, &mut Building::new(spec.winograd)),
            gradients: Gradients::none(trained.len()),
            trained,
            weights,
            statistics,
            drift: RunningMean::untracked(),
            average: RunningMean::untracked(),
            optimizer: spec.optimizer.clone(),
            steps: 0,
            clip_norm: spec.clip_norm,
            label_smoothing: spec.label_smoothing,
            frozen: spec.frozen,
            seed: spec.seed,
            first: spec.first,
            input_shape,
            output_shape,
            precision,
            profiled: spec.profiled,
            device,
            replicas: None,
        })
    }

    /// The gradients that have added up since the last update, in the order of the stage's parameters; `None` where no
    /// backward pass has reached a parameter.
    pub fn gradients(&self) -> impl Iterator<Item = Option<&K::Tensor>> {
        self.gradients.0.iter().map(Option::as_ref)
    }

    fn pass(&self, batch: usize) -> Pass<'_, K> {
        Pass {
            weights: &self.weights,
            statistics: &self.statistics,
            seed: self.seed,
            batch,
            precision: self.precision,
            device: &self.device,
            replicas: self.replicas.as_ref(),
        }
    }

    fn checked(
        &self,
        what: &'static str,
        expected: &[usize],
        tensor: &K::Tensor,
    ) -> Result<K::Tensor, EngineError> {
        let found = K::shape(tensor);
        if found.first().is_some_and(|&samples| samples > 0) && found[1..] == *expected {
            return K::take_over(tensor, &self.device);
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
    fn compute_loss(
        &self,
        logits: &LayeredActivation<K>,
        labels: MixedLabels<'_>,
        smoothing: f64,
    ) -> Result<(Vec<usize>, LossOnHost), EngineError> {
        let logits = timed("download", || K::download(logits.tensor()))?;
        let &[_, classes] = logits.shape.as_slice() else {
            return Err(EngineError::Labels {
                labels: labels.labels.len(),
                logits: logits.shape,
            });
        };
        let loss = mixed_cross_entropy(&logits.data, classes, labels, smoothing)?;
        Ok((logits.shape, loss))
    }

    fn input(&self, input: &LayeredActivation<K>) -> Result<K::Tensor, EngineError> {
        self.checked("input", &self.input_shape, input.tensor())
    }

    fn output(&self, output: K::Tensor) -> Result<LayeredActivation<K>, EngineError> {
        let output = K::hand_over(output, &self.device)?;
        Ok(LayeredActivation::from_tensor(output))
    }

    /// Clips the gradient.
    fn clip(&self, gradients: &mut Gradients<K>) -> Result<UpdateReport, EngineError> {
        let mut report = UpdateReport::default();
        if let Some(limit) = self.clip_norm {
            let norm = gradients.norm()?;
            report.gradient_norm = Some(norm);
            if norm > limit {
                // 1e-6 as in PyTorch's clip_grad_norm_.
                gradients.scale(limit / (norm + 1e-6))?;
            }
        }
        Ok(report)
    }
}

impl<K: Kernels> Stage for LayeredStage<K> {
    type Activation = LayeredActivation<K>;
    type Graph = LayeredGraph<K>;
    type Pending = LayeredPending<K>;
    type Weights = Weights<K>;
    type Position = Position<K>;
    type Statistics = Statistics<K>;

    fn upload(&self, host: HostTensor) -> Result<Self::Activation, EngineError> {
        host.check()?;
        let tensor = timed("upload", || K::upload(host, self.precision, &self.device))?;
        Ok(LayeredActivation::from_tensor(tensor))
    }

    fn normalize_across(&mut self, replicas: Arc<dyn AcrossReplicas>) -> Result<(), EngineError> {
        self.replicas = Some(replicas);
        Ok(())
    }

    fn forward(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Activation, EngineError> {
        if self.frozen {
            return self.frozen_output(input);
        }
        let output = self.layers.forward(self.input(input)?, &self.pass(batch))?;
        self.output(output)
    }

    fn record(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<(Self::Activation, Self::Graph), EngineError> {
        if self.frozen {
            return Ok((self.frozen_output(input)?, self.frozen_graph(input)?));
        }
        let mut seen = Vec::with_capacity(self.statistics.len());
        let pass = self.pass(batch);
        let (output, graph) = self.layers.record(self.input(input)?, &pass, &mut seen)?;
        for statistics in seen {
            self.statistics[statistics.index].update(statistics)?;
        }
        Ok((self.output(output)?, LayeredGraph(Recorded::Pass(graph))))
    }

    fn recompute(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Graph, EngineError> {
        if self.frozen {
            return self.frozen_graph(input);
        }
        let mut seen = Vec::with_capacity(self.statistics.len());
        let pass = self.pass(batch);
        let graph = self.layers.replay(self.input(input)?, &pass, &mut seen)?;
        for statistics in seen {
            self.statistics[statistics.index].update(statistics)?;
        }
        Ok(LayeredGraph(Recorded::Pass(graph)))
    }

    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<Option<Self::Activation>, EngineError> {
        self.pull_back(graph, output_grad)
    }

    fn backward_input(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<(Option<Self::Activation>, Self::Pending), EngineError> {
        self.pull_back_input(graph, output_grad)
    }

    fn backward_weights(&mut self, pending: Self::Pending) -> Result<(), EngineError> {
        self.add_late_gradients(pending)
    }

    fn loss(
        &self,
        logits: &Self::Activation,
        labels: &[usize],
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError> {
        self.mixed_loss(logits, MixedLabels::plain(labels), share)
    }

    fn mixed_loss(
        &self,
        logits: &Self::Activation,
        labels: MixedLabels<'_>,
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError> {
        let (shape, mut loss) = self.compute_loss(logits, labels, self.label_smoothing)?;
        if share != 1.0 {
            for grad in &mut loss.grad {
                *grad = (f64::from(*grad) * share) as f32;
            }
        }
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

    fn mse_loss(
        &self,
        predicted: &Self::Activation,
        target: &Self::Activation,
    ) -> Result<MseLoss<Self::Activation>, EngineError> {
        let shape = predicted.shape();
        if shape != target.shape() {
            let (predicted, target) = (shape, target.shape());
            return Err(EngineError::ShapeMismatch { predicted, target });
        }
        let device = &self.device;
        let predicted = K::take_over(predicted.tensor(), device)?;
        let target = K::take_over(target.tensor(), device)?;
        let difference = timed("weighted sum", || K::blend(predicted, 1.0, target, -1.0))?;
        let elements = shape.iter().product::<usize>() as f64;
        let value = timed("clipping", || K::square_sum(&[&difference]))? / elements;
        let grad = self.output(timed("clipping", || K::scale(difference, 2.0 / elements))?)?;
        Ok(MseLoss { value, grad })
    }

    fn scaled(
        &self,
        activation: Self::Activation,
        factor: f64,
    ) -> Result<Self::Activation, EngineError> {
        if factor == 1.0 {
            return Ok(activation);
        }
        let tensor = K::take_over(activation.tensor(), &self.device)?;
        drop(activation);
        self.output(timed("clipping", || K::scale(tensor, factor))?)
    }

    fn scale_gradients(&mut self, factor: f64) -> Result<(), EngineError> {
        if factor == 1.0 {
            return Ok(());
        }
        self.gradients.scale(factor)
    }

    fn parameter_names(&self) -> Vec<String> {
        let each = self.trained.iter();
        each.map(|trained| trained.info.name.clone()).collect()
    }

    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        let each = self.gradients.0.iter().zip(&self.trained);
        each.map(|(gradient, trained)| match gradient {
            Some(gradient) => timed("download", || K::download(gradient)),
            None => Ok(HostTensor::zeros(&trained.info.shape)),
        })
        .collect()
    }

    fn gradient_norms(&self) -> Result<Vec<f32>, EngineError> {
        let all: Vec<&K::Tensor> = self.gradients.0.iter().flatten().collect();
        let squares = timed("clipping", || K::square_sums(&all))?;
        let mut norms = squares.into_iter().map(|squares| squares.sqrt() as f32);
        let each = self.gradients.0.iter();
        let norm = |gradient: &Option<_>| gradient.as_ref().and_then(|_| norms.next());
        Ok(each.map(norm).map(Option::unwrap_or_default).collect())
    }

    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        let values = self.upload_all(values, |_| self.precision.master())?;
        self.gradients = Gradients(values.into_iter().map(Some).collect());
        Ok(())
    }

    fn score(&self, logits: &Self::Activation, labels: &[usize]) -> Result<Score, EngineError> {
        let (_, loss) = self.compute_loss(logits, MixedLabels::plain(labels), 0.0)?;
        Ok(Score {
            loss: loss.value,
            correct_top1: loss.correct_top1,
            correct_top5: loss.correct_top5,
        })
    }

    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        let parameters = self.trained.len();
        let mut gradients = std::mem::replace(&mut self.gradients, Gradients::none(parameters));
        if self.frozen {
            return Ok(self.frozen_report());
        }
        if parameters > 0 && gradients.0.iter().all(Option::is_none) {
            return Err(EngineError::NoGradient {
                stage: self.label.clone(),
            });
        }
        let report = self.clip(&mut gradients)?;
        let before = self.before_update();
        self.steps += 1;
        let each = self.trained.iter_mut().zip(&mut self.weights);
        // At the rate of the batch, and at that of the head.
        let (mut steps, mut of_head, mut head_factor) = (Vec::new(), Vec::new(), 1.0);
        for ((trained, weight), gradient) in each.zip(gradients.0) {
            let Some(gradient) = gradient else { continue };
            let (weight, rounded) = match &mut trained.master {
                Some(master) => (master, Some(weight)),
                None => (weight, None),
            };
            let step = ParameterStep {
                weight,
                gradient,
                slots: &mut trained.slots,
                rounded,
            };
            if trained.rate_factor == 1.0 {
                steps.push(step);
            } else {
                head_factor = trained.rate_factor;
                of_head.push(step);
            }
        }
        for (steps, rate) in [
            (steps, learning_rate),
            (of_head, learning_rate * head_factor),
        ] {
            if !steps.is_empty() {
                timed("optimizer step", || {
                    K::step(&self.optimizer, self.steps, rate, steps)
                })?;
            }
        }
        self.after_update(before)?;
        K::settle();
        Ok(report)
    }

    fn weights(&self) -> Weights<K> {
        Weights::from_tensors(self.weights.clone())
    }

    fn replace_weights(&mut self, weights: Weights<K>) -> Weights<K> {
        Weights::from_tensors(std::mem::replace(&mut self.weights, weights.into_tensors()))
    }

    fn predicted_weights(&self, coefficient: f64) -> Result<Weights<K>, EngineError> {
        self.predict(coefficient)
    }

    fn track_drift(&mut self, keep: f64) {
        self.drift.track(keep, self.weights.len());
    }

    fn drifted_weights(&self, steps: f64) -> Result<Weights<K>, EngineError> {
        self.extrapolate_back(steps)
    }

    fn track_average(&mut self, keep: f64) {
        self.average.track(keep, self.weights.len());
    }

    fn averaged_weights(&self) -> Result<Option<Weights<K>>, EngineError> {
        self.average()
    }

    fn position(&self) -> Position<K> {
        self.exact_position()
    }

    fn position_of(&self, weights: &Weights<K>) -> Option<Position<K>> {
        let rounded = self.trained.iter().any(|trained| trained.master.is_some());
        (!rounded).then(|| weights.exact_position())
    }

    fn distance(&self, from: &Position<K>) -> Result<Distance, EngineError> {
        self.distance_from(from)
    }

    fn synthesizer(&self) -> Result<Self, EngineError> {
        let name = format!("synthesizer of {}", self.label);
        let model = synthesizer(&name, &self.output_shape)?;
        let spec = StageSpec {
            optimizer: Optimizer::adam(),
            precision: self.precision,
            ..StageSpec::synthesizer(&model, self.seed)?
        };
        Self::new(&spec, self.device.clone())
    }

    fn export_weights(&self, weights: &Weights<K>) -> Result<Vec<HostTensor>, EngineError> {
        weights.download()
    }

    fn import_weights(&self, values: Vec<HostTensor>) -> Result<Weights<K>, EngineError> {
        self.upload_weights(values)
    }

    fn export_position(&self, position: &Position<K>) -> Result<Vec<HostTensor>, EngineError> {
        position.download()
    }

    fn import_position(&self, values: Vec<HostTensor>) -> Result<Position<K>, EngineError> {
        self.upload_position(values)
    }

    fn statistics(&self) -> Statistics<K> {
        Statistics::of(&self.statistics)
    }

    fn restore_statistics(&mut self, statistics: Statistics<K>) {
        statistics.put_back(&mut self.statistics);
    }

    fn export_statistics(
        &self,
        statistics: &Statistics<K>,
    ) -> Result<Vec<HostTensor>, EngineError> {
        statistics.download()
    }

    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<Statistics<K>, EngineError> {
        self.upload_statistics(values)
    }

    fn discard_gradients(&mut self) {
        self.gradients = Gradients::none(self.trained.len());
    }

    fn evaluate(&mut self, input: &Self::Activation) -> Result<Self::Activation, EngineError> {
        let output = self.layers.evaluate(self.input(input)?, &self.pass(0))?;
        K::settle();
        self.output(output)
    }

    fn profile(&mut self) -> Option<Profile> {
        self.profiled.then(timing::take).flatten()
    }

    fn export(&self) -> Result<StageState, EngineError> {
        self.export_state()
    }

    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        self.import_state(state)
    }
}
