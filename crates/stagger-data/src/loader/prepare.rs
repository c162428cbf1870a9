//! Makes one batch: fetch, augment, normalise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ImageBatch, Images};
use crate::error::DataError;
use crate::sampler::Sampler;

/// What one thread needs to make any batch.
pub(super) struct Preparer {
    images: Images,
    sampler: Sampler,
    stop: Arc<AtomicBool>,
    fetched: Vec<u8>,
    placed: Vec<u8>,
}

impl Preparer {
    pub(super) fn new(images: Images, sampler: Sampler, stop: Arc<AtomicBool>) -> Self {
        let image_bytes = images.dataset.shape().iter().product();
        let (fetched, placed) = (vec![0; image_bytes], vec![0; image_bytes]);
        Self {
            images,
            sampler,
            stop,
            fetched,
            placed,
        }
    }

    /// Batch `batch`, or nothing if the loader was dropped meanwhile.
    pub(super) fn prepare(&mut self, batch: usize) -> Result<Option<ImageBatch>, DataError> {
        let Images {
            dataset,
            normalization,
            augmentation,
        } = &self.images;
        let shape @ [channels, height, width] = dataset.shape();
        let (seed, epoch) = (self.sampler.seed(), self.sampler.epoch_of(batch));
        let indices = self.sampler.indices(batch);
        let mut pixels = vec![0.0; indices.len() * self.fetched.len()];
        for (&index, out) in indices
            .iter()
            .zip(pixels.chunks_exact_mut(self.fetched.len()))
        {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            dataset.image(index, &mut self.fetched)?;
            if augmentation.is_none() {
                normalization.apply(&self.fetched, out);
            } else {
                let placement = augmentation.draw(seed, epoch, index);
                placement.apply(shape, &self.fetched, &mut self.placed);
                normalization.apply(&self.placed, out);
            }
        }
        let shape = [indices.len(), channels, height, width];
        Ok(Some(ImageBatch {
            batch,
            shape,
            pixels,
        }))
    }
}
