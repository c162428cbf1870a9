//! What ends a run early.

use std::error::Error;

use stagger_engine::EngineError;
use stagger_schedule::Action;
use stagger_transport::{ConnectError, Lane, LinkError};

use crate::board::Stall;
use crate::corrections::CorrectionError;
use crate::snapshot::ResumeError;

/// Why training or test data could not be read.
pub type FeedError = Box<dyn Error + Send + Sync>;

/// Why a receiver of events gave up, for example a full disk.
pub type EventError = Box<dyn Error + Send + Sync>;

/// What went wrong inside a stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(Box<EngineError>),
    /// The loader failed.
    #[error("the data could not be loaded: {0}")]
    Feed(#[source] FeedError),
    /// Training diverged.
    #[error(
        "the loss is {value}: training diverged; lower the learning rate, lengthen \
         its warm-up or clip gradients"
    )]
    NonFiniteLoss {
        /// NaN or an infinity.
        value: f32,
    },
    /// A neighbour could not be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A message came out of turn: the two programs disagree.
    #[error("on the {lane} lane batch {expected} was expected and batch {found} came")]
    OutOfOrder {
        /// The lane.
        lane: Lane,
        /// The batch that the program asked for.
        expected: usize,
        /// The batch that came.
        found: usize,
    },
    /// A program asked for something that its earlier actions have not provided.
    #[error("the program does not fit the stage: {what}")]
    Program {
        /// What is missing.
        what: &'static str,
    },
    /// The schedule's corrections do not suit the optimizer.
    #[error(transparent)]
    Correction(#[from] CorrectionError),
    /// The snapshot to resume from does not fit.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// It went wrong in another process.
    #[error("{message} (rank {rank})")]
    Remote {
        /// The process.
        rank: usize,
        /// What it says.
        message: String,
    },
    /// The stage panicked.
    #[error("panic: {message}")]
    Panic {
        /// The panic's message.
        message: String,
    },
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Fault::Engine(Box::new(error))
    }
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A stage could not be built.
    #[error("stage {stage} could not be built: {cause}")]
    Build {
        /// The stage.
        stage: usize,
        /// Why.
        #[source]
        cause: Fault,
    },
    /// A stage failed while training.
    #[error(
        "stage {stage} failed in {}: {cause}",
        phrase(action, *version)
    )]
    Stage {
        /// The stage.
        stage: usize,
        /// What it was doing; names the batch.
        action: Action,
        /// Version of its parameters.
        version: usize,
        /// Why.
        #[source]
        cause: Fault,
    },
    /// A receiver of events failed.
    #[error("the run was stopped: {0}")]
    Event(#[source] EventError),
    /// Nothing has moved for longer than [`Plan::stall_timeout`](crate::Plan::stall_timeout).
    #[error("{0}")]
    Stalled(Box<Stall>),
    /// A stage's thread could not be started.
    #[error("the thread of stage {stage} could not be started: {cause}")]
    Spawn {
        /// The stage.
        stage: usize,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Two stages, or replicas, could not be connected.
    #[error("{lower} and {upper} could not be connected: {cause}")]
    Connect {
        /// The one below, by its name.
        lower: String,
        /// The one above.
        upper: String,
        /// Why.
        #[source]
        cause: ConnectError,
    },
    /// Another process of the run failed, or what it sent cannot be read.
    #[error("rank {rank}: {message}")]
    Rank {
        /// The process.
        rank: usize,
        /// What it says, or what is wrong with what it sent.
        message: String,
    },
    /// The interpreter found no stage that can act.
    #[error("the schedule's programs block each other: {what}")]
    Deadlock {
        /// What the interpreter reports.
        what: String,
    },
}

/// An action in words, of a stage at a version: `the forward of batch 7, version 6`.
fn phrase(action: &Action, at: usize) -> String {
    let of_batch = |name: &str, batch: &usize| format!("the {name} of batch {batch}, version {at}");
    match action {
        Action::Forward { batch, .. } => of_batch("forward", batch),
        Action::Recompute { batch, .. } => of_batch("recompute", batch),
        Action::Backward { batch, .. } => of_batch("backward", batch),
        Action::WeightGradients { batch, .. } => of_batch("gradients of weights", batch),
        Action::Learn { batch, .. } => of_batch("lesson", batch),
        Action::Update { version } => of_batch("update", version),
        Action::Evaluate { version } => format!("the evaluation of version {version}"),
        Action::Snapshot { version } => format!("the snapshot of version {version}"),
    }
}

impl RunError {
    /// Whether this only reports that another stage has failed.
    pub(crate) fn is_echo(&self) -> bool {
        matches!(self.link_error(), Some(LinkError::Stopped))
    }

    /// The error of a link, of a stage at work or one that is being built: replicas that resume may exchange something then.
    fn link_error(&self) -> Option<&LinkError> {
        match self {
            RunError::Stage {
                cause: Fault::Link(error),
                ..
            }
            | RunError::Build {
                cause: Fault::Link(error),
                ..
            } => Some(error),
            _ => None,
        }
    }

    /// Whether this only reports that a neighbouring stage is gone, which itself knows why.
    pub(crate) fn names_a_neighbour(&self) -> bool {
        matches!(self.link_error(), Some(LinkError::PeerGone { .. }))
    }
}
