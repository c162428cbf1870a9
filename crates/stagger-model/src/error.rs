//! What can be wrong with a model as a whole.

use crate::cut_error::counted;
use crate::shape::ShapeError;

/// Why a model cannot be built or is not sound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The zoo has no model of this name.
    #[error(
        "there is no model `{name}`{} The zoo has {}, and for N up to {deepest} every resnetN with N = 6n + 2, preact-resnetN and resnextN-CxWd with N = 9n + 2, \
         wrn-N-W with N = 6n + 4 and W up to {widest}, and densenet-bc-L-K with L = 6n + 4 up to {deepest_dense} and K up to {most_growth}",
        question(.suggestion), .known.join(", ")
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The known name that it is most like, if it is like any.
        suggestion: Option<String>,
        /// All names, in the order in which they are listed.
        known: Vec<&'static str>,
        /// The largest depth N of the general rule for `resnetN`.
        deepest: usize,
        /// The most times the channels of a wide network.
        widest: usize,
        /// The largest depth L of the general rule for `densenet-bc-L-K`.
        deepest_dense: usize,
        /// The most channels K that a dense layer adds.
        most_growth: usize,
    },
    /// The images are too small for the number of times that the model halves them.
    #[error(
        "model `{model}` expects images of at least {smallest}x{smallest} pixels, \
         since it halves them {halvings} times, but they are {}x{}; \
         use larger images or a model that shrinks them less",
        found[1], found[2]
    )]
    InputTooSmall {
        /// The model.
        model: String,
        /// The smallest side, in pixels.
        smallest: usize,
        /// How many times it halves them.
        halvings: u32,
        /// Channels, height, width of the images.
        found: [usize; 3],
    },
    /// A dimension of the input is 0.
    #[error(
        "model `{model}` expects an input of at least one channel, row and column but gets {found:?} \
         (channels, height, width)"
    )]
    EmptyInput {
        /// The model.
        model: String,
        /// Channels, height, width.
        found: [usize; 3],
    },
    /// The input has more values than are counted with.
    #[error(
        "model `{model}` expects an input of at most {most} values but gets {found:?} \
         (channels, height, width); use smaller images"
    )]
    InputTooLarge {
        /// The model.
        model: String,
        /// The most values, of all channels together.
        most: usize,
        /// Channels, height, width.
        found: [usize; 3],
    },
    /// The number of classes is 0.
    #[error("model `{model}` expects at least 1 class but gets 0")]
    NoClasses {
        /// The model.
        model: String,
    },
    /// There is no block at all.
    #[error("model `{model}` has no blocks; give it at least one")]
    NoBlocks {
        /// The model.
        model: String,
    },
    /// A block has no layers.
    #[error("model `{model}`, block `{block}`: has no layers; give it one or leave the block out")]
    EmptyBlock {
        /// The model.
        model: String,
        /// The block.
        block: String,
    },
    /// A layer does not fit what comes before it.
    #[error("model `{model}`, block `{block}`: {reason}")]
    Shape {
        /// The model.
        model: String,
        /// The block that holds the layer.
        block: String,
        /// What does not fit.
        reason: Box<ShapeError>,
    },
    /// The last block does not end in one value per class.
    #[error(
        "model `{model}` expects its last block to end in shape [{classes}], one value per class, \
         but it ends in {found:?}; end it with a linear layer of {classes} outputs"
    )]
    Output {
        /// The model.
        model: String,
        /// The number of classes.
        classes: usize,
        /// The shape that it ends in.
        found: Vec<usize>,
    },
    /// Two parameters, buffers or dropout layers have the same name.
    #[error("model `{model}` has the name `{name}` twice; give each layer a name of its own")]
    DuplicateName {
        /// The model.
        model: String,
        /// The name.
        name: String,
    },
    /// A synthesizer for tensors that are neither images nor features.
    #[error(
        "synthesizer `{name}` expects activations of shape [channels, height, width] or [features] per sample, \
         with no side of 0, but gets {found:?}"
    )]
    SynthesizerShape {
        /// The synthesizer.
        name: String,
        /// Shape of one sample.
        found: Vec<usize>,
    },
    /// A block is asked for that the model does not have.
    #[error("model `{model}` has {}, so there is no block {found}", counted(*blocks, "block"))]
    BlockIndex {
        /// The model.
        model: String,
        /// Its number of blocks.
        blocks: usize,
        /// The index asked for.
        found: usize,
    },
}

fn question(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean `{name}`?"),
        None => ".".to_owned(),
    }
}
