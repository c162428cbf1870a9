//! What can go wrong in an engine.

use stagger_model::ModelError;

use crate::optimizer::OptimizerError;
use crate::precision::Precision;

/// Why a stage cannot be built, or cannot do what it is asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model as a whole is not sound.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The optimizer's settings are not sound.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// The blocks of the stage are not blocks of the model, or there are none.
    #[error(
        "a stage of blocks {start}..{end} expects at least one block within the {blocks} of the model; \
         choose a cut inside the model"
    )]
    Blocks {
        /// First block.
        start: usize,
        /// One past the last block.
        end: usize,
        /// Blocks of the model.
        blocks: usize,
    },
    /// A model that guesses no gradients.
    #[error(
        "model `{model}` has no block `synthesizer`; make it with `stagger_model::synthesizer`"
    )]
    NoSynthesizer {
        /// The model.
        model: String,
    },
    /// A setting of the stage lies outside its range.
    #[error("{setting} expects {expected} but is {found}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// The range.
        expected: &'static str,
        /// The value.
        found: f64,
    },
    /// A number format that an engine does not compute in.
    #[error(
        "engine `{engine}` computes in {expected}, not in {found}; use another engine or format"
    )]
    Precision {
        /// The engine.
        engine: &'static str,
        /// What was asked for.
        found: Precision,
        /// What it has.
        expected: &'static str,
    },
    /// A tensor with too few or too many values for its shape.
    #[error(
        "a tensor of shape {shape:?} expects the product of its sides but holds {found} values"
    )]
    TensorSize {
        /// Its shape.
        shape: Vec<usize>,
        /// Its number of values.
        found: usize,
    },
    /// A tensor of the wrong shape enters a stage.
    #[error(
        "the {what} of stage `{stage}` expects shape {} but has {found:?}",
        per_sample(.expected)
    )]
    Shape {
        /// `input` or `output gradient`.
        what: &'static str,
        /// First and last block of the stage.
        stage: String,
        /// Shape of one sample.
        expected: Vec<usize>,
        /// Shape found, batch dimension included.
        found: Vec<usize>,
    },
    /// Batch normalisation over a single value.
    #[error(
        "batch normalisation `{layer}` expects at least 2 values per channel but the batch has {values} \
         (samples x height x width); use a larger batch size, or drop the last, smaller batch"
    )]
    OneValuePerChannel {
        /// The layer.
        layer: String,
        /// Values per channel.
        values: usize,
    },
    /// Labels and logits do not belong together.
    #[error(
        "the loss expects one label per row of the logits but gets {labels} labels for logits of shape {logits:?}"
    )]
    Labels {
        /// Number of labels.
        labels: usize,
        /// Shape of the logits.
        logits: Vec<usize>,
    },
    /// A label that is no class.
    #[error(
        "label {label} at position {position} of the batch is out of range: the model has {classes} classes, \
         numbered from 0; check the data set or the number of classes"
    )]
    LabelOutOfRange {
        /// Index in the batch.
        position: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An update with nothing to update by.
    #[error("stage `{stage}` cannot update: no backward pass has run since its last update")]
    NoGradient {
        /// First and last block of the stage.
        stage: String,
    },
    /// Weights ahead of an optimizer without momentum.
    #[error(
        "stage `{stage}` cannot predict its weights: optimizer `{optimizer}` keeps no momentum; use optimizer `momentum`"
    )]
    NoMomentum {
        /// First and last block of the stage.
        stage: String,
        /// The optimizer.
        optimizer: &'static str,
    },
    /// Weights extrapolated back by a drift that the stage does not track.
    #[error(
        "stage `{stage}` cannot extrapolate its weights back: it does not keep their drift; \
         have it tracked from the first update on"
    )]
    NoDrift {
        /// First and last block of the stage.
        stage: String,
    },
    /// A position that is not one of this stage's.
    #[error(
        "stage `{stage}` has {expected} parameters but is compared with a position of {found}; \
         take positions from the same stage"
    )]
    ForeignPosition {
        /// First and last block of the stage.
        stage: String,
        /// Parameters of the stage.
        expected: usize,
        /// Parameters of the position.
        found: usize,
    },
    /// Weights or a position that are not of this stage's parameters.
    #[error(
        "stage `{stage}` has {expected} parameters but is given weights of {found}, or of other shapes; they belong to \
         another model or cut"
    )]
    ForeignWeights {
        /// First and last block of the stage.
        stage: String,
        /// Parameters of the stage.
        expected: usize,
        /// Parameters of the weights.
        found: usize,
    },
    /// Running statistics of another stage.
    #[error(
        "stage {stage} has {expected} means and variances, and running statistics of {found} or of other shapes were given"
    )]
    ForeignStatistics {
        /// First and last block of the stage.
        stage: String,
        /// Tensors of the stage's running statistics.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// Shares of a batch whose samples have different shapes.
    #[error("the shares of a batch are of shapes {expected:?} and {found:?}, whose samples differ")]
    Rows {
        /// Of the first share.
        expected: Vec<usize>,
        /// Of another one.
        found: Vec<usize>,
    },
    /// A prediction and its target of different shapes.
    #[error(
        "the mean squared error expects a prediction and a target of one shape but gets {predicted:?} and {target:?}"
    )]
    ShapeMismatch {
        /// Shape of the prediction.
        predicted: Vec<usize>,
        /// Shape of the target.
        target: Vec<usize>,
    },
    /// A tensor that the stage needs is not in the state.
    #[error(
        "the state lacks `{name}`, which stage `{stage}` expects with shape {expected:?}; load the state of the same model"
    )]
    Missing {
        /// First and last block of the stage.
        stage: String,
        /// Name of the tensor.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor in the state that the stage does not have.
    #[error(
        "the state holds `{name}`, which stage `{stage}` does not have; load the state of the same model, cut and optimizer"
    )]
    Unexpected {
        /// First and last block of the stage.
        stage: String,
        /// Name of the tensor.
        name: String,
    },
    /// A tensor in the state of another shape than the stage's.
    #[error(
        "`{name}` in the state expects shape {expected:?} but has {found:?}; load the state of the same model"
    )]
    StateShape {
        /// Name of the tensor.
        name: String,
        /// The stage's shape.
        expected: Vec<usize>,
        /// The state's shape.
        found: Vec<usize>,
    },
    /// A stage that cannot normalise over the shares of several replicas.
    #[error(
        "the stage normalises by its own share of a batch only; leave synchronised batch normalisation out"
    )]
    AloneOnly,
    /// What the replicas of a stage exchange within a pass does not come through, or does not fit together.
    #[error("the replicas of a stage cannot normalise a batch together: {message}")]
    Replicas {
        /// Why.
        message: String,
    },
    /// A device, or the host, has not the memory that a tensor takes.
    #[error(
        "no memory is left: {message}; use a smaller batch, or more stages, each on a device of its own"
    )]
    OutOfMemory {
        /// What the tensor library said.
        message: String,
    },
    /// The tensor library failed.
    #[error("the tensor backend failed: {message}")]
    Backend {
        /// What it said.
        message: String,
    },
}

fn per_sample(expected: &[usize]) -> String {
    let sides: Vec<String> = expected.iter().map(usize::to_string).collect();
    format!("[N, {}]", sides.join(", "))
}
