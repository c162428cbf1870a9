//! Prepares batches in the background.

mod prepare;

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::augmentation::Augmentation;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::normalization::Normalization;
use crate::sampler::Sampler;
use crate::shown;
use crate::split::Split;
use prepare::Preparer;

/// Images ready for the first stage.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBatch {
    /// Number of the batch, through all epochs.
    pub batch: usize,
    /// Images, channels, height, width.
    pub shape: [usize; 4],
    /// Normalised pixels in the order of `shape`.
    pub pixels: Vec<f32>,
}

/// The images that a [`Loader`] draws from, and what is done to them.
#[derive(Clone)]
pub struct Images {
    /// Where the images come from.
    pub dataset: Arc<dyn Dataset>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// How images are varied from epoch to epoch, keyed by the seed of the sampler.
    pub augmentation: Augmentation,
}

impl Images {
    /// The training images of `split`, augmented.
    pub fn train(split: &Split) -> Self {
        Self {
            dataset: Arc::clone(&split.train),
            normalization: split.normalization.clone(),
            augmentation: split.augmentation,
        }
    }

    /// The test images of `split`, as they are.
    pub fn test(split: &Split) -> Self {
        Self {
            dataset: Arc::clone(&split.test),
            normalization: split.normalization.clone(),
            augmentation: Augmentation::NONE,
        }
    }

    /// The same images without augmentation.
    pub fn plain(self) -> Self {
        Self {
            augmentation: Augmentation::NONE,
            ..self
        }
    }
}

/// How much work is done ahead. None of it changes what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads, at least 1. One is enough for data sets in memory.
    pub workers: usize,
    /// Finished batches that wait per thread, at least 1.
    pub queue_batches: usize,
}

impl Default for LoaderOptions {
    /// One thread, two batches ahead.
    fn default() -> Self {
        Self {
            workers: 1,
            queue_batches: 2,
        }
    }
}

type Message = Result<ImageBatch, DataError>;

/// An iterator over batches that background threads prepare, in order.
///
/// With W threads, thread w makes every W-th batch and has a bounded queue of its own; the
/// iterator takes from the queues in turn. So the order needs no sorting, and what comes out
/// depends neither on timing nor on W. The first error ends the iteration after it was returned.
/// Dropping the loader ends the threads after the image they are at and waits for them.
pub struct Loader {
    /// Queue of each thread; empty once the iteration has ended.
    queues: Vec<Receiver<Message>>,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    first: usize,
    remaining: Range<usize>,
}

impl Loader {
    /// Starts to prepare the batches `batches` (numbers through all epochs) of `images` in the
    /// order of `sampler`.
    ///
    /// # Errors
    /// [`DataError::SamplerLength`], [`DataError::AugmentedChannels`] or [`DataError::NormalizationChannels`] if `sampler`,
    /// augmentation or normalisation do not fit the data set, [`DataError::Spawn`].
    pub fn start(
        images: Images,
        sampler: Sampler,
        batches: Range<usize>,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        check(&images, &sampler)?;
        let threads = options.workers.clamp(1, batches.len().max(1));
        let first = batches.start;
        let stop = Arc::new(AtomicBool::new(false));
        let (queues, workers) = (Vec::new(), Vec::new());
        let remaining = batches.clone();
        // Built before the threads, so that an error while starting them ends those that run.
        let mut loader = Self {
            queues,
            workers,
            stop,
            first,
            remaining,
        };
        for offset in 0..threads {
            let (sender, receiver) = bounded(options.queue_batches.max(1));
            let stop = Arc::clone(&loader.stop);
            let preparer = Preparer::new(images.clone(), sampler.clone(), stop);
            let own = (first.saturating_add(offset)..batches.end).step_by(threads);
            let thread = thread::Builder::new()
                .name(format!("loader-{offset}"))
                .spawn(move || work(preparer, own, &sender))
                .map_err(|source| DataError::Spawn { source })?;
            loader.queues.push(receiver);
            loader.workers.push(thread);
        }
        Ok(loader)
    }

    /// Starts to prepare the test images of `split` in their own order, `batch_size` at a time,
    /// without augmentation; [`Sampler::sequential`] gives the indices of each batch.
    ///
    /// # Errors
    /// As [`Loader::start`] and [`Sampler::sequential`].
    pub fn evaluation(
        split: &Split,
        batch_size: usize,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        let sampler = Sampler::sequential(split.test.len(), batch_size)?;
        let batches = 0..sampler.batches_per_epoch();
        Self::start(Images::test(split), sampler, batches, options)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.queues.clear();
        self.remaining = 0..0;
        for worker in self.workers.drain(..) {
            // A worker catches its own panic and sends it as an error, so nothing is lost here.
            let _ = worker.join();
        }
    }
}

impl Iterator for Loader {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let batch = self.remaining.next()?;
        let queue = &self.queues[(batch - self.first) % self.queues.len()];
        let message = queue.recv().unwrap_or_else(|_| {
            let message = "its thread ended early".to_string();
            Err(DataError::WorkerPanicked { batch, message })
        });
        if message.is_err() || self.remaining.is_empty() {
            self.end();
        }
        Some(message)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("remaining", &self.remaining)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

fn check(images: &Images, sampler: &Sampler) -> Result<(), DataError> {
    let dataset = &images.dataset;
    if sampler.len() != dataset.len() {
        return Err(DataError::SamplerLength {
            sampler: sampler.len(),
            dataset: dataset.name().to_string(),
            found: dataset.len(),
        });
    }
    let [channels, ..] = dataset.shape();
    images
        .augmentation
        .check_channels(dataset.name(), channels)?;
    images.normalization.check_channels(channels)
}

/// A thread's life: ends after its last batch, after an error, or when the loader was dropped.
fn work(mut preparer: Preparer, batches: impl Iterator<Item = usize>, queue: &Sender<Message>) {
    for batch in batches {
        let prepared = panic::catch_unwind(AssertUnwindSafe(|| preparer.prepare(batch)));
        let message = match prepared {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(images))) => Ok(images),
            Ok(Err(error)) => Err(error),
            Err(payload) => {
                let message = panic_message(payload.as_ref());
                Err(DataError::WorkerPanicked { batch, message })
            }
        };
        let failed = message.is_err();
        if queue.send(message).is_err() || failed {
            return;
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .map_or("no message".to_string(), |text| shown::one_line(&text))
}
