//! The seam between a stage's executor and the tensor library.

use std::ops::Range;

use stagger_model::Model;

use crate::error::EngineError;
use crate::loss::{Loss, Score};
use crate::optimizer::Optimizer;
use crate::precision::Precision;
use crate::profile::Profile;
use crate::state::StageState;
use crate::tensor::HostTensor;

/// What to build a stage from.
#[derive(Clone, Debug)]
pub struct StageSpec<'a> {
    /// The whole model.
    pub model: &'a Model,
    /// The blocks of this stage.
    pub blocks: Range<usize>,
    /// Seed of initial weights and dropout.
    pub seed: u64,
    /// Whether the stage's input is data, of which no gradient is needed.
    pub first: bool,
    /// Whether the stage's output are the logits.
    pub last: bool,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// Largest norm of the stage's gradient; a longer one is scaled down to it. `None` leaves gradients alone.
    pub clip_norm: Option<f64>,
    /// Label smoothing of the loss, at least 0 and below 1.
    pub label_smoothing: f64,
    /// Format in which the stage computes.
    pub precision: Precision,
}

impl<'a> StageSpec<'a> {
    /// The stage of these blocks, with plain SGD, no clipping and no label smoothing, in `f32`; `first` and `last` follow from
    /// the blocks.
    pub fn new(model: &'a Model, blocks: Range<usize>, seed: u64) -> Self {
        Self {
            model,
            first: blocks.start == 0,
            last: blocks.end == model.blocks.len(),
            blocks,
            seed,
            optimizer: Optimizer::Sgd {
                weight_decay: Default::default(),
            },
            clip_norm: None,
            label_smoothing: 0.0,
            precision: Precision::F32,
        }
    }

    /// Checks everything that does not need a tensor library, and gives the shapes of one sample of the stage's
    /// input and output.
    ///
    /// # Errors
    /// When the blocks are not blocks of the model, shapes do not fit, or a setting lies outside its range.
    pub fn validate(&self) -> Result<(Vec<usize>, Vec<usize>), EngineError> {
        let blocks = self.model.blocks.len();
        let Range { start, end } = self.blocks;
        if start >= end || end > blocks {
            return Err(EngineError::Blocks { start, end, blocks });
        }
        self.optimizer.validate()?;
        if let Some(found) = self
            .clip_norm
            .filter(|norm| !norm.is_finite() || *norm <= 0.0)
        {
            let expected = "a finite number above 0";
            return Err(EngineError::Setting {
                setting: "gradient clipping",
                expected,
                found,
            });
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let (expected, found) = ("at least 0 and below 1", self.label_smoothing);
            return Err(EngineError::Setting {
                setting: "label smoothing",
                expected,
                found,
            });
        }
        Ok((
            self.model.stage_input_shape(start)?,
            self.model.stage_input_shape(end)?,
        ))
    }

    /// What messages call the stage: its first and last block.
    pub(crate) fn label(&self) -> String {
        let names: Vec<&str> = self.model.blocks[self.blocks.clone()]
            .iter()
            .map(|block| block.name.as_str())
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [only] => (*only).to_owned(),
            [first, .., last] => format!("{first} to {last}"),
        }
    }
}

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

/// Consecutive layers with their parameters, gradients and optimizer state: what one device runs.
///
/// All work happens on the calling thread (or its device stream). The same calls give the same bits, whatever else
/// runs on the machine. A graph stays valid, with the numbers it was recorded with, when the stage updates.
pub trait Stage {
    /// Tensors on the stage's device.
    type Activation: Activation;
    /// What a recorded pass keeps for its backward.
    type Graph: Send;

    /// Brings a tensor to the stage's device, `[N, …]`.
    ///
    /// # Errors
    /// [`EngineError::TensorSize`] when shape and number of values differ.
    fn upload(&self, host: HostTensor) -> Result<Self::Activation, EngineError>;

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
    /// statistics (DESIGN §4: once per batch, in the pass that builds the graph).
    ///
    /// # Errors
    /// As [`Stage::forward`].
    fn record(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<(Self::Activation, Self::Graph), EngineError>;

    /// As [`Stage::record`] when nobody reads the output, which may then be left out.
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

    /// Mean cross-entropy of logits `[N, classes]` by the spec's label smoothing; see [`crate::cross_entropy`].
    ///
    /// # Errors
    /// When labels and logits do not fit each other or a label is no class.
    fn loss(
        &self,
        logits: &Self::Activation,
        labels: &[usize],
    ) -> Result<Loss<Self::Activation>, EngineError>;

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
    /// otherwise its state has to be complete. Counters that are not there count from 0.
    ///
    /// # Errors
    /// When a tensor is missing, unexpected or of another shape; the stage is then unchanged.
    fn import(&mut self, state: &StageState) -> Result<(), EngineError>;
}
