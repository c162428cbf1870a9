//! The seam between a stage's executor and the tensor library.

mod spec;

use std::sync::Arc;

use crate::error::EngineError;
use crate::loss::{Loss, MixedLabels, MseLoss, Score};
use crate::profile::Profile;
use crate::replicas::AcrossReplicas;
use crate::state::StageState;
use crate::tensor::HostTensor;

pub use spec::StageSpec;

/// A tensor on a stage's device, with the batch dimension first. Cloning copies a handle, not the values.
pub trait Activation: Clone + Send + 'static {
    /// Copies the values to host memory, row-major.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn to_host(&self) -> Result<HostTensor, EngineError>;

    /// The shape, batch dimension first.
    fn shape(&self) -> Vec<usize>;

    /// Bytes of the values.
    fn size_bytes(&self) -> usize;
}

/// What [`Stage::update`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateReport {
    /// Euclidean norm of the stage's gradient before clipping; known only when clipping is on.
    pub gradient_norm: Option<f64>,
}

/// How far apart the weights of two versions are, over all parameters of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    /// Euclidean norm of the difference.
    pub moved: f64,
    /// Euclidean norm of the present weights.
    pub norm: f64,
}

/// Consecutive layers with their parameters, gradients and optimizer state: what one device runs.
///
/// All work happens on the calling thread, on helpers that the engine gives it, or on its device stream. The same calls give the same bits, whatever else
/// runs on the machine. A graph stays valid, with the numbers it was recorded with, when the stage updates.
pub trait Stage {
    /// Tensors on the stage's device.
    type Activation: Activation;
    /// What a recorded pass keeps for its backward.
    type Graph: Send;
    /// What [`Stage::backward_input`] keeps for [`Stage::backward_weights`]: the inputs and the output gradients of all
    /// convolutions and linear layers.
    type Pending: Send;
    /// Handles of all parameters at one version, in the format of the passes. Cheap: values are copied only when an
    /// update has to write to weights that another handle still refers to.
    type Weights: Clone + Send;
    /// Handles of the exact values of all parameters at one version, as cheap as [`Stage::Weights`].
    type Position: Send;
    /// Handles of all running statistics after so many passes, as cheap as [`Stage::Weights`].
    type Statistics: Send;

    /// Brings a tensor to the stage's device, `[N, …]`.
    ///
    /// # Errors
    /// [`EngineError::TensorSize`] when shape and number of values differ.
    fn upload(&self, host: HostTensor) -> Result<Self::Activation, EngineError>;

    /// From now on this stage is one of several replicas, whose inputs together are a batch: batch normalisation in
    /// [`Stage::forward`], [`Stage::record`], [`Stage::recompute`] and [`Stage::backward`] is over the whole batch, and each of
    /// these calls waits for the same call of all other replicas. Running statistics of the replicas then stay equal to the bit.
    ///
    /// # Errors
    /// [`EngineError::AloneOnly`] from a stage that cannot do it.
    fn normalize_across(&mut self, _replicas: Arc<dyn AcrossReplicas>) -> Result<(), EngineError> {
        Err(EngineError::AloneOnly)
    }

    /// Lets the stage see whether the run is stopping: calls that take long without computing then end soon, with any error.
    fn watch_stop(&mut self, _is_stopping: Arc<dyn Fn() -> bool + Send + Sync>) {}

    /// Brings an activation or a gradient to this stage that another stage of the run has made. A stage whose tensors all stages
    /// of the run can read has nothing to do here.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when a device fails.
    fn take_over(&self, activation: Self::Activation) -> Result<Self::Activation, EngineError> {
        Ok(activation)
    }

    /// Training forward: batch statistics, dropout of batch `batch`; running statistics stay as they are.
    ///
    /// # Errors
    /// When the input does not fit, or a batch normalisation sees one value per channel.
    fn forward(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Activation, EngineError>;

    /// The same numbers as [`Stage::forward`], bit for bit, with the graph for [`Stage::backward`]; updates running
    /// statistics (docs/algorithm.md, "Semantics that are easy to get wrong": once per batch, in the pass that builds
    /// the graph).
    ///
    /// # Errors
    /// As [`Stage::forward`].
    fn record(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<(Self::Activation, Self::Graph), EngineError>;

    /// As [`Stage::record`] when the output is not read, which may then be left out.
    ///
    /// # Errors
    /// As [`Stage::forward`].
    fn recompute(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Graph, EngineError> {
        Ok(self.record(input, batch)?.1)
    }

    /// Pulls a gradient of the output back through the graph, adds to the parameters' gradients, and gives the
    /// gradient of the input; `None` on the first stage.
    ///
    /// # Errors
    /// When the gradient does not have the shape of the output.
    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<Option<Self::Activation>, EngineError>;

    /// The first half of [`Stage::backward`]: the gradient of the input, without the gradients of the weights and biases of
    /// convolutions and linear layers, which [`Stage::backward_weights`] adds. Those of batch normalisations are added here.
    ///
    /// Both halves of all passes, each in the order of the passes, leave the bits of as many calls of [`Stage::backward`].
    ///
    /// # Errors
    /// As [`Stage::backward`].
    fn backward_input(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<(Option<Self::Activation>, Self::Pending), EngineError>;

    /// The second half of [`Stage::backward`]: adds the gradients of weights and biases that the first half has put off. They
    /// are those at the weights that the graph was recorded with, whatever the stage has done since.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn backward_weights(&mut self, pending: Self::Pending) -> Result<(), EngineError>;

    /// Mean cross-entropy of logits `[N, classes]` by the spec's label smoothing; see [`crate::cross_entropy`]. The
    /// gradient is that of the value times `share`, the part of the whole batch that these samples are; a share of 1
    /// leaves its bits as they are.
    ///
    /// # Errors
    /// When labels and logits do not fit each other or a label is no class.
    fn loss(
        &self,
        logits: &Self::Activation,
        labels: &[usize],
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError>;

    /// [`Stage::loss`] of samples that are mixtures of two.
    ///
    /// # Errors
    /// As [`Stage::loss`].
    fn mixed_loss(
        &self,
        logits: &Self::Activation,
        labels: MixedLabels<'_>,
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError>;

    /// Mean squared difference of a prediction from its target, both on the stage's device and of the same shape, and
    /// its gradient.
    ///
    /// # Errors
    /// [`EngineError::ShapeMismatch`] when the shapes differ.
    fn mse_loss(
        &self,
        predicted: &Self::Activation,
        target: &Self::Activation,
    ) -> Result<MseLoss<Self::Activation>, EngineError>;

    /// An activation, or a gradient of one, times a number. A factor of 1 leaves its bits as they are.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn scaled(
        &self,
        activation: Self::Activation,
        factor: f64,
    ) -> Result<Self::Activation, EngineError>;

    /// Multiplies the gradients that have added up since the last update; without any, nothing happens.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn scale_gradients(&mut self, factor: f64) -> Result<(), EngineError>;

    /// The names of the stage's parameters, in their order. None by default, for stages whose parameters have no names.
    fn parameter_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The values of the gradients that have added up since the last update, in the order of the stage's parameters; zeros
    /// where no backward has reached a parameter.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError>;

    /// The Euclidean norm of each gradient that [`export_gradients`](Stage::export_gradients) would give, rounded to `f32`.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn gradient_norms(&self) -> Result<Vec<f32>, EngineError> {
        let norm = |gradient: HostTensor| {
            let squares = gradient.data.iter().map(|&value| f64::from(value).powi(2));
            squares.sum::<f64>().sqrt() as f32
        };
        Ok(self.export_gradients()?.into_iter().map(norm).collect())
    }

    /// Replaces the gradients that have added up by others: their sum over the replicas of the stage, say.
    ///
    /// # Errors
    /// [`EngineError::ForeignWeights`] when there are not as many as parameters or a shape differs.
    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError>;

    /// Judges the logits of an evaluation: plain cross-entropy without smoothing, and accuracy.
    ///
    /// # Errors
    /// As [`Stage::loss`].
    fn score(&self, logits: &Self::Activation, labels: &[usize]) -> Result<Score, EngineError>;

    /// Clips the gradient, takes an optimizer step and clears the gradient.
    ///
    /// # Errors
    /// [`EngineError::NoGradient`] when no backward has run since the last update.
    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError>;

    /// The parameters that passes run on at present.
    fn weights(&self) -> Self::Weights;

    /// Runs the following passes on other weights of this stage, such as an older version or a prediction, and gives
    /// back the present ones. Gradients, optimizer state and running statistics stay. The stage's own weights have to be
    /// put back before it updates, exports, or is asked for others.
    fn replace_weights(&mut self, weights: Self::Weights) -> Self::Weights;

    /// `w − coefficient·v`, with the momentum buffer `v` as the last update has left it.
    ///
    /// # Errors
    /// [`EngineError::NoMomentum`] when the optimizer keeps none.
    fn predicted_weights(&self, coefficient: f64) -> Result<Self::Weights, EngineError>;

    /// From now on every update keeps the drift of the weights, `δ ← keep·δ + (1 − keep)·(w_new − w_old)`, in units of
    /// weights per update and starting at 0. It is part of the state: a stage that shall import it has to track it
    /// before. Calling this again changes `keep`, from 0 to below 1, and leaves δ.
    fn track_drift(&mut self, keep: f64);

    /// `w − steps·δ`: where the weights were that many updates ago, if they have moved evenly.
    ///
    /// # Errors
    /// [`EngineError::NoDrift`] without [`Stage::track_drift`].
    fn drifted_weights(&self, steps: f64) -> Result<Self::Weights, EngineError>;

    /// From now on every update takes the new weights into a running mean, `a ← keep·a + (1 − keep)·w`, which the first update starts at `w`.
    /// It is part of the state: a stage that shall import it has to track it before.
    fn track_average(&mut self, keep: f64);

    /// That mean, for passes; `None` without [`Stage::track_average`] or before the first update.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the library or the device fails.
    fn averaged_weights(&self) -> Result<Option<Self::Weights>, EngineError>;

    /// The exact parameters at present, to measure from later.
    fn position(&self) -> Self::Position;

    /// The position of weights that passes run on; `None` where they are rounded, and so say too little of it.
    fn position_of(&self, weights: &Self::Weights) -> Option<Self::Position>;

    /// How far the parameters are from a position of this stage, added up in 64 bits. Reads all of them, and waits for
    /// the device.
    ///
    /// # Errors
    /// [`EngineError::ForeignPosition`] for a position of another stage.
    fn distance(&self, from: &Self::Position) -> Result<Distance, EngineError>;

    /// A new stage that guesses the gradient of this stage's output from that output, on the same device and in the same
    /// format. It starts by guessing 0 and learns with Adam.
    ///
    /// # Errors
    /// When the output has no shape that a synthesizer is known for, and when the device fails.
    fn synthesizer(&self) -> Result<Self, EngineError>
    where
        Self: Sized;

    /// The values of weights of this stage, in the order of its parameters; exact also where they are rounded.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn export_weights(&self, weights: &Self::Weights) -> Result<Vec<HostTensor>, EngineError>;

    /// The weights that [`Stage::export_weights`] gave the values of, to the bit.
    ///
    /// # Errors
    /// [`EngineError::ForeignWeights`] when there are not as many or a shape differs.
    fn import_weights(&self, values: Vec<HostTensor>) -> Result<Self::Weights, EngineError>;

    /// The values of a position of this stage, in the order of its parameters.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn export_position(&self, position: &Self::Position) -> Result<Vec<HostTensor>, EngineError>;

    /// The position that [`Stage::export_position`] gave the values of, to the bit.
    ///
    /// # Errors
    /// As [`Stage::import_weights`].
    fn import_position(&self, values: Vec<HostTensor>) -> Result<Self::Position, EngineError>;

    /// The running statistics at present.
    fn statistics(&self) -> Self::Statistics;

    /// Puts running statistics of this stage back: the passes since then have not been.
    fn restore_statistics(&mut self, statistics: Self::Statistics);

    /// The values of running statistics of this stage: mean and variance of each normalisation.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn export_statistics(
        &self,
        statistics: &Self::Statistics,
    ) -> Result<Vec<HostTensor>, EngineError>;

    /// Running statistics of these values, after as many passes as the present ones.
    ///
    /// # Errors
    /// [`EngineError::ForeignStatistics`] when there are not as many as [`Stage::export_statistics`] gives or a shape differs.
    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<Self::Statistics, EngineError>;

    /// Drops the gradients that have added up since the last update.
    fn discard_gradients(&mut self);

    /// Inference forward: running statistics, no dropout.
    ///
    /// # Errors
    /// When the input does not fit.
    fn evaluate(&mut self, input: &Self::Activation) -> Result<Self::Activation, EngineError>;

    /// Takes the time per kind of kernel so far, where the stage measures it.
    fn profile(&mut self) -> Option<Profile> {
        None
    }

    /// Parameters, buffers and optimizer state.
    ///
    /// # Errors
    /// [`EngineError::Backend`] when the device fails.
    fn export(&self) -> Result<StageState, EngineError>;

    /// Takes over a state and clears the gradient. Without any `optimizer.` tensor in it, the optimizer starts anew;
    /// otherwise its state has to be complete. Counters that are not there count from 0. Drift that is not there starts
    /// at 0; what the stage does not track is left out.
    ///
    /// # Errors
    /// When a tensor is missing, unexpected or of another shape; the stage is then unchanged.
    fn import(&mut self, state: &StageState) -> Result<(), EngineError>;
}
