//! Where the first stage's inputs and the last stage's labels come from.
//!
//! Labels are not sent through the pipeline: the order of samples is a function of (seed, epoch), so the last stage derives
//! its own (docs/algorithm.md, "Semantics that are easy to get wrong").

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use stagger_engine::HostTensor;
use stagger_transport::sync::{Mutex, lock};

use crate::fault::FeedError;
use stagger_schedule::Replicas;

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

    /// The share of each sample of a training batch that is its own, in `[0, 1]`, where its inputs are mixed: the rest is of the sample before it
    /// in the batch, and of the first sample of the last one.
    ///
    /// # Errors
    /// When it is not known.
    fn own_share(&mut self, _batch: usize) -> Result<f64, FeedError> {
        Ok(1.0)
    }

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
    /// One feed for each of these places. The replicas of an end share it.
    pub(crate) fn split(self, replicas: &Replicas, places: Range<usize>) -> Vec<StageFeed> {
        let last = replicas.stages() - 1;
        let here = |stage: usize| {
            let of_stage = replicas.places_of(stage..stage + 1);
            of_stage.filter(|place| places.contains(place)).count()
        };
        let mut inputs = share_inputs(self.inputs, here(0)).into_iter();
        let mut labels = share_labels(self.labels, here(last)).into_iter();
        let mut feed = |place: usize| {
            let stage = replicas.place(place).stage;
            StageFeed {
                inputs: (stage == 0).then(|| inputs.next()).flatten(),
                labels: (stage == last).then(|| labels.next()).flatten(),
            }
        };
        places.clone().map(&mut feed).collect()
    }
}

/// Batches that one reader reads and several replicas take, each of them every batch.
struct Shared<R: ?Sized, T> {
    readers: usize,
    state: Mutex<SharedState<R, T>>,
}

struct SharedState<R: ?Sized, T> {
    /// Batches that not every replica has taken, with the number of those that have.
    read: VecDeque<(usize, T, usize)>,
    reader: Box<R>,
}

impl<R: ?Sized, T: Clone> Shared<R, T> {
    fn new(reader: Box<R>, readers: usize) -> Self {
        let read = VecDeque::new();
        let state = Mutex::new(SharedState { read, reader });
        Self { readers, state }
    }

    /// A batch: read now, or by another replica before.
    fn take(
        &self,
        batch: usize,
        read: impl FnOnce(&mut R) -> Result<T, FeedError>,
    ) -> Result<T, FeedError> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let Some(at) = state.read.iter().position(|(there, ..)| *there == batch) else {
            let found = read(&mut state.reader)?;
            state.read.push_back((batch, found.clone(), 1));
            return Ok(found);
        };
        let (_, found, taken) = &mut state.read[at];
        *taken += 1;
        if *taken < self.readers {
            return Ok(found.clone());
        }
        let last = state.read.remove(at);
        last.map(|(_, found, _)| found)
            .ok_or_else(|| "a batch is gone".into())
    }

    fn with<U>(&self, work: impl FnOnce(&mut R) -> U) -> U {
        let mut state = lock(&self.state);
        work(&mut state.reader)
    }
}

/// Inputs for so many replicas in this process.
fn share_inputs(inputs: Box<dyn Inputs>, replicas: usize) -> Vec<Box<dyn Inputs>> {
    if replicas <= 1 {
        return vec![inputs];
    }
    let shared = Arc::new(Shared::new(inputs, replicas));
    let share = |_| Box::new(SharedInputs(Arc::clone(&shared))) as Box<dyn Inputs>;
    (0..replicas).map(share).collect()
}

struct SharedInputs(Arc<Shared<dyn Inputs, HostTensor>>);

impl Inputs for SharedInputs {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        self.0.take(batch, |inputs| inputs.train(batch))
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        self.0.with(|inputs| inputs.evaluation(batch))
    }
}

/// Labels for so many replicas in this process.
fn share_labels(labels: Box<dyn Labels>, replicas: usize) -> Vec<Box<dyn Labels>> {
    if replicas <= 1 {
        return vec![labels];
    }
    let shared = Arc::new(Shared::new(labels, replicas));
    let share = |_| Box::new(SharedLabels(Arc::clone(&shared))) as Box<dyn Labels>;
    (0..replicas).map(share).collect()
}

struct SharedLabels(Arc<Shared<dyn Labels, Vec<usize>>>);

impl Labels for SharedLabels {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        self.0.take(batch, |labels| labels.train(batch))
    }

    fn own_share(&mut self, batch: usize) -> Result<f64, FeedError> {
        self.0.with(|labels| labels.own_share(batch))
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        self.0.with(|labels| labels.evaluation(batch))
    }
}
