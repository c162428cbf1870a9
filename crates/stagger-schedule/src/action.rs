//! What a stage can do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One action of one stage (docs/algorithm.md, "A schedule is a program per stage").
///
/// A batch is what one update sees. It travels in micro-batches, or whole, as micro-batch 0.
/// Batches, micro-batches and versions count from 0. `w^n` are the parameters of the stage after
/// `n` updates. [`Display`](fmt::Display) prints a letter and the number: `F7`, `R3`, `B3`, `W3`,
/// `L3`, `U3`, `E4`, `S4`; and `F7.2` for micro-batch 2 of batch 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Take the activation of the micro-batch from the stage below (the input data at stage 0),
    /// run the layers at the parameters of [`ForwardWeights`](crate::ForwardWeights), send the
    /// output up (to the loss at the last stage).
    Forward {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Run the layers on the kept input of the micro-batch again, at the parameters of
    /// [`BackwardWeights`](crate::BackwardWeights), to build the graph. Only where
    /// [`Kept::Input`](crate::Kept::Input).
    Recompute {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Take the gradient of the micro-batch from the stage above (from the loss at the last stage,
    /// from the synthesizer where [`GradientSource::Synthetic`](crate::GradientSource)), pull it
    /// back through the graph, send the gradient of the input down (except at stage 0). Where
    /// [`StagePolicy::split`](crate::StagePolicy::split), without the gradients of the weights and
    /// biases of convolutions and linear layers.
    Backward {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Take the gradient of the micro-batch from the stage above and train the synthesizer of this
    /// boundary on it. Only where [`GradientSource::Synthetic`](crate::GradientSource).
    Learn {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Turn `w^version` into `w^(version + 1)`.
    Update {
        /// The version that the update starts from.
        version: usize,
    },
    /// Take this stage's part in evaluating `w^version`, right after `Update { version - 1 }` and
    /// before any further training action. Evaluation data flows in a lane of its own.
    Evaluate {
        /// The version that is evaluated.
        version: usize,
    },
    /// Write down the state of this stage at `w^version`, right after `Evaluate { version }` if
    /// there is one. Purely local: nothing is sent or received.
    Snapshot {
        /// The version that is written.
        version: usize,
    },
    /// Add the gradients of weights and biases that `Backward` of the same micro-batch has left
    /// out. Nothing is sent or received. Only where
    /// [`StagePolicy::split`](crate::StagePolicy::split), in the order of the micro-batches, and
    /// before the update of the batch.
    WeightGradients {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, number, micro) = match *self {
            Action::Forward { batch, micro } => ('F', batch, micro),
            Action::Recompute { batch, micro } => ('R', batch, micro),
            Action::Backward { batch, micro } => ('B', batch, micro),
            Action::WeightGradients { batch, micro } => ('W', batch, micro),
            Action::Learn { batch, micro } => ('L', batch, micro),
            Action::Update { version } => ('U', version, 0),
            Action::Evaluate { version } => ('E', version, 0),
            Action::Snapshot { version } => ('S', version, 0),
        };
        let unit = Unit {
            batch: number,
            micro,
        };
        write!(f, "{letter}{unit}")
    }
}

/// One micro-batch of one batch: what moves between stages at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) batch: usize,
    pub(crate) micro: usize,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.micro {
            0 => write!(f, "{}", self.batch),
            micro => write!(f, "{}.{micro}", self.batch),
        }
    }
}
