//! A data set at both ends of the pipeline: images for stage 0, labels for stage K−1.

use std::ops::Range;
use std::sync::Arc;

use stagger_data::{
    DataError, Dataset, Images, Loader, LoaderOptions, Mixing, Sampler, Split, labels,
};
use stagger_engine::HostTensor;

use crate::fault::FeedError;
use crate::feed::{Feeds, Inputs, Labels};

/// Feeds that train on batches `batches` of `split.train`, in the order of `sampler`, and evaluate
/// on `split.test`, `eval_batch_size` samples at a time. Loading starts at once, in the background.
///
/// # Errors
/// When the sampler does not fit the data set, a batch size is 0, or a thread cannot be started.
pub fn dataset_feeds(
    split: &Split,
    sampler: &Sampler,
    batches: Range<usize>,
    eval_batch_size: usize,
    options: LoaderOptions,
) -> Result<Feeds, DataError> {
    let labels = dataset_labels(split, sampler, eval_batch_size)?;
    let train = Loader::start(Images::train(split), sampler.clone(), batches, options)?;
    let inputs = LoadedInputs {
        split: split.clone(),
        train,
        evaluation: None,
        eval_batch_size,
        options,
    };
    Ok(Feeds {
        inputs: Box::new(inputs),
        labels,
    })
}

/// The labels of all batches, as [`dataset_feeds`] has them, for a process without stage 0. Reads no images.
///
/// # Errors
/// When the batch size is 0.
pub fn dataset_labels(
    split: &Split,
    sampler: &Sampler,
    eval_batch_size: usize,
) -> Result<Box<dyn Labels>, DataError> {
    Ok(Box::new(SampledLabels {
        train: Arc::clone(&split.train),
        sampler: sampler.clone(),
        mixing: split.augmentation.mixing,
        test: Arc::clone(&split.test),
        eval_sampler: Sampler::sequential(split.test.len(), eval_batch_size)?,
    }))
}

struct LoadedInputs {
    split: Split,
    train: Loader,
    evaluation: Option<Loader>,
    eval_batch_size: usize,
    options: LoaderOptions,
}

/// The next batch of a loader, which has to be the one that was asked for.
fn take(loader: &mut Loader, batch: usize) -> Result<Option<HostTensor>, FeedError> {
    let Some(images) = loader.next().transpose()? else {
        return Ok(None);
    };
    if images.batch != batch {
        return Err(format!(
            "batch {batch} was asked for and batch {} is next",
            images.batch
        )
        .into());
    }
    Ok(Some(HostTensor::new(images.shape.to_vec(), images.pixels)?))
}

impl Inputs for LoadedInputs {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        take(&mut self.train, batch)?.ok_or_else(|| format!("batch {batch} is past the end").into())
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        if batch == 0 {
            let (size, options) = (self.eval_batch_size, self.options);
            self.evaluation = Some(Loader::evaluation(&self.split, size, options)?);
        }
        match self.evaluation.as_mut() {
            Some(loader) => take(loader, batch),
            None => Ok(None),
        }
    }
}

struct SampledLabels {
    train: Arc<dyn Dataset>,
    sampler: Sampler,
    mixing: Mixing,
    test: Arc<dyn Dataset>,
    eval_sampler: Sampler,
}

impl Labels for SampledLabels {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(labels(self.train.as_ref(), self.sampler.indices(batch)))
    }

    fn own_share(&mut self, batch: usize) -> Result<f64, FeedError> {
        let [_, height, width] = self.train.shape();
        let mix = (self.mixing).draw(self.sampler.seed(), batch, [height, width]);
        Ok(mix.map_or(1.0, |mix| mix.own()))
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(labels(self.test.as_ref(), self.eval_sampler.indices(batch)))
    }
}
