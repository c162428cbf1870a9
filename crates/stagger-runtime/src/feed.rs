//! Where the first stage's inputs and the last stage's labels come from.
//!
//! Labels are not sent through the pipeline: the order of samples is a function of (seed, epoch), so the last stage derives
//! its own (docs/algorithm.md, "Semantics that are easy to get wrong").

use stagger_engine::HostTensor;

use crate::fault::FeedError;

/// Inputs of stage 0.
pub trait Inputs: Send {
    /// Inputs of a training batch, shape `[N, C, H, W]`. Asked for in order, each once.
    ///
    /// # Errors
    /// When the data cannot be read.
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError>;

    /// Inputs of an evaluation batch, or `None` past the last. Each evaluation begins at 0.
    ///
    /// # Errors
    /// When the data cannot be read.
    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError>;
}

/// Labels of stage K−1.
pub trait Labels: Send {
    /// Labels of a training batch, `[N]`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError>;

    /// Labels of an evaluation batch, `[N]`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError>;
}

/// Both ends of the pipeline.
pub struct Feeds {
    /// For stage 0.
    pub inputs: Box<dyn Inputs>,
    /// For stage K−1.
    pub labels: Box<dyn Labels>,
}

/// The end of a pipeline that is in another process: asking it is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elsewhere;

impl Elsewhere {
    fn refuse<R>() -> Result<R, FeedError> {
        Err("this end of the pipeline is fed by another process".into())
    }
}

impl Inputs for Elsewhere {
    fn train(&mut self, _batch: usize) -> Result<HostTensor, FeedError> {
        Self::refuse()
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Self::refuse()
    }
}

impl Labels for Elsewhere {
    fn train(&mut self, _batch: usize) -> Result<Vec<usize>, FeedError> {
        Self::refuse()
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Vec<usize>, FeedError> {
        Self::refuse()
    }
}

/// What one stage is fed with: inputs on stage 0, labels on stage K−1.
#[derive(Default)]
pub(crate) struct StageFeed {
    pub inputs: Option<Box<dyn Inputs>>,
    pub labels: Option<Box<dyn Labels>>,
}

impl Feeds {
    /// One feed per stage.
    pub(crate) fn split(self, stages: usize) -> Vec<StageFeed> {
        let mut feeds: Vec<StageFeed> = (0..stages).map(|_| StageFeed::default()).collect();
        if let Some(first) = feeds.first_mut() {
            first.inputs = Some(self.inputs);
        }
        if let Some(last) = feeds.last_mut() {
            last.labels = Some(self.labels);
        }
        feeds
    }
}
