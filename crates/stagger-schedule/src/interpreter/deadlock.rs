//! What every stage waits for when none can run.

use std::fmt;

use thiserror::Error;

use crate::Action;
use crate::action::Unit;

/// No stage can run its next action: the programs or the queue lengths do not fit together.
///
/// This cannot happen with a parsed [`Schedule`](crate::Schedule); it can with hand-made programs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no stage can go on: {}", list(.waiting))]
pub struct Deadlock {
    /// All stages that are not at the end of their program, from the lowest up.
    pub waiting: Vec<Waiting>,
}

/// A stage that cannot run its next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The stage.
    pub stage: usize,
    /// Its next action.
    pub action: Action,
    /// What it waits for.
    pub wait: Wait,
}

/// What keeps a stage from running its next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The activation of a micro-batch, from the stage below.
    Activation {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// The gradient of a micro-batch, from the stage above.
    Gradient {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Its own `Backward` of a micro-batch, whose `WeightGradients` it shall run.
    FirstHalf {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Its own `WeightGradients` of a micro-batch, without which it shall not update.
    SecondHalf {
        /// Index of the batch.
        batch: usize,
        /// Index of the micro-batch in it.
        micro: usize,
    },
    /// Room for the activation that it sends up.
    RoomAbove,
    /// Room for the gradient that it sends down.
    RoomBelow,
    /// The stage below to evaluate the same version.
    Evaluation {
        /// The version.
        version: usize,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting {
            stage,
            action,
            wait,
        } = self;
        write!(f, "stage {stage} waits for {wait} before {action}")
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Wait::Activation { batch, micro } => {
                write!(f, "the activation of batch {}", Unit { batch, micro })
            }
            Wait::Gradient { batch, micro } => {
                write!(f, "the gradient of batch {}", Unit { batch, micro })
            }
            Wait::FirstHalf { batch, micro } => {
                write!(
                    f,
                    "its own backward pass of batch {}",
                    Unit { batch, micro }
                )
            }
            Wait::SecondHalf { batch, micro } => {
                let unit = Unit { batch, micro };
                write!(f, "its own gradients of weights of batch {unit}")
            }
            Wait::RoomAbove => write!(f, "room in the queue of activations"),
            Wait::RoomBelow => write!(f, "room in the queue of gradients"),
            Wait::Evaluation { version } => {
                write!(f, "the stage below to evaluate version {version}")
            }
        }
    }
}

fn list(waiting: &[Waiting]) -> String {
    waiting
        .iter()
        .map(Waiting::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
