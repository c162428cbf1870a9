//! What travels over a link.

use std::fmt;
use std::time::Duration;

/// The three kinds of traffic of a hop. Each lane is FIFO; lanes do not order each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Outputs of training forwards, from stage k to stage k+1.
    Activation,
    /// Gradients of those outputs, from stage k+1 to stage k.
    Gradient,
    /// Outputs of evaluation forwards, from stage k to stage k+1.
    Evaluation,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lane::Activation => "activation",
            Lane::Gradient => "gradient",
            Lane::Evaluation => "evaluation",
        })
    }
}

/// Where a message belongs and when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The lane it travels on.
    pub lane: Lane,
    /// Training batch index, or index of the evaluation batch on [`Lane::Evaluation`].
    pub batch: usize,
    /// Micro-batch of that batch, from 0; 0 where batches travel whole.
    pub micro: usize,
    /// Version of the sender's parameters that computed the payload.
    pub version: usize,
    /// When it was sent, since the start of the run.
    pub sent_at: Duration,
    /// An announcement of stage 0 to all stages; on [`Lane::Activation`] only.
    pub mark: Option<Mark>,
}

/// An unplanned snapshot, which all stages take at the same version: stage 0 announces it with an activation, and every
/// stage passes it on. A stage that forwards batch `f` has not made update `f` yet, so version `f + 1` is still ahead of
/// every stage that the announcement reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The version to take a snapshot at.
    pub version: usize,
    /// Whether the run halts there. What is in flight at that version then stays in flight, and is part of the snapshot.
    pub halts: bool,
}

/// A payload, or a marker that replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<T> {
    /// The tensor itself.
    Payload(T),
    /// Replaces a gradient of a batch whose loss is not finite: the stage skips its update of that batch.
    Void,
    /// Ends an evaluation: the test set has no batch [`Header::batch`].
    End,
}

/// One message of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// Where it belongs.
    pub header: Header,
    /// What it carries.
    pub content: Content<T>,
}
