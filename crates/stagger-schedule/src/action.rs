//! What a stage can do.

use std::fmt;

/// One action of one stage (DESIGN §3).
///
/// Batches and versions count from 0. `w^n` are the parameters of the stage after `n` updates.
/// [`Display`](fmt::Display) prints a letter and the number: `F7`, `R3`, `B3`, `U3`, `E4`, `S4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the activation of `batch` from the stage below (the input data at stage 0), run the
    /// layers at the current parameters, send the output up (to the loss at the last stage).
    Forward {
        /// Index of the batch.
        batch: usize,
    },
    /// Run the layers on the kept input of `batch` again, at the current parameters, to build the
    /// graph. Only where [`Kept::Input`](crate::Kept::Input).
    Recompute {
        /// Index of the batch.
        batch: usize,
    },
    /// Take the gradient of `batch` from the stage above (from the loss at the last stage), pull
    /// it back through the graph, send the gradient of the input down (except at stage 0).
    Backward {
        /// Index of the batch.
        batch: usize,
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
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, number) = match *self {
            Action::Forward { batch } => ('F', batch),
            Action::Recompute { batch } => ('R', batch),
            Action::Backward { batch } => ('B', batch),
            Action::Update { version } => ('U', version),
            Action::Evaluate { version } => ('E', version),
            Action::Snapshot { version } => ('S', version),
        };
        write!(f, "{letter}{number}")
    }
}
