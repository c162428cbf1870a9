//! Makes one batch: fetch, augment, normalise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ImageBatch, Images};
use crate::augmentation::Augmenter;
use crate::error::DataError;
use crate::sampler::Sampler;

/// What one thread needs to make any batch.
pub(super) struct Preparer {
    images: Images,
    sampler: Sampler,
    stop: Arc<AtomicBool>,
    augmenter: Augmenter,
}

impl Preparer {
    pub(super) fn new(images: Images, sampler: Sampler, stop: Arc<AtomicBool>) -> Self {
        let shape = images.dataset.shape();
        Self {
            augmenter: Augmenter::new(images.augmentation, shape, sampler.seed()),
            images,
            sampler,
            stop,
        }
    }

    /// Batch `batch`, or nothing if the loader was dropped meanwhile.
    pub(super) fn prepare(&mut self, batch: usize) -> Result<Option<ImageBatch>, DataError> {
        let Images {
            dataset,
            normalization,
            ..
        } = &self.images;
        let [channels, height, width] = dataset.shape();
        let image_bytes = channels * height * width;
        let epoch = self.sampler.epoch_of(batch);
        let indices = self.sampler.indices(batch);
        let zeros = vec![0.0; channels];
        let mut pixels = vec![0.0; indices.len() * image_bytes];
        for (&index, out) in indices.iter().zip(pixels.chunks_exact_mut(image_bytes)) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let image = self.augmenter.image(dataset.as_ref(), epoch, index)?;
            normalization.apply(image, out);
            self.augmenter.erase(epoch, index, out, &zeros);
        }
        let shape = [indices.len(), channels, height, width];
        let mixing = &self.images.augmentation.mixing;
        if let Some(mix) = mixing.draw(self.sampler.seed(), batch, [height, width]) {
            mix.apply(&mut pixels, shape);
        }
        Ok(Some(ImageBatch {
            batch,
            shape,
            pixels,
        }))
    }
}
