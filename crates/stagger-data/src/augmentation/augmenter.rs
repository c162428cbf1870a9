//! Makes training images: what a thread of the loader does for each.

use super::{Augmentation, erase};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::picture::Picture;
use crate::resize::Resize;

/// One thread's means to augment images, with buffers that are used again. What comes out depends on seed, epoch and image alone.
pub(crate) struct Augmenter {
    augmentation: Augmentation,
    shape: [usize; 3],
    seed: u64,
    image: Vec<u8>,
    /// Where the next step of an image is made.
    next: Vec<u8>,
    resize: Resize,
}

impl Augmenter {
    /// For images of `shape` (channels, height, width), which the augmentation has been checked for.
    pub fn new(augmentation: Augmentation, shape: [usize; 3], seed: u64) -> Self {
        let image_bytes = shape.iter().product();
        Self {
            augmentation,
            shape,
            seed,
            image: vec![0; image_bytes],
            next: vec![0; image_bytes],
            resize: Resize::default(),
        }
    }

    /// Image `index` as it trains in `epoch`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn image(
        &mut self,
        dataset: &dyn Dataset,
        epoch: usize,
        index: usize,
    ) -> Result<&[u8], DataError> {
        match self.augmentation.resized_crop {
            true => self.crop(dataset, epoch, index)?,
            false => dataset.image(index, &mut self.image)?,
        }
        if self.augmentation.pad > 0 || self.augmentation.flip {
            let placement = self.augmentation.draw(self.seed, epoch, index);
            placement.apply(self.shape, &self.image, &mut self.next);
            std::mem::swap(&mut self.image, &mut self.next);
        }
        let [_, height, width] = self.shape;
        for change in self.augmentation.draw_colors(self.seed, epoch, index) {
            change.apply(&mut self.image);
        }
        let operations =
            self.augmentation
                .draw_operations(self.seed, epoch, index, [height, width]);
        for operation in operations {
            operation.apply([height, width], &mut self.image, &mut self.next);
        }
        Ok(&self.image)
    }

    /// Writes `values`, one for each channel, into the part of image `index` that is erased in `epoch`: 0 where it has been
    /// normalised, and of bytes the mean, which becomes 0.
    pub fn erase<T: Copy>(&self, epoch: usize, index: usize, image: &mut [T], values: &[T]) {
        let [_, height, width] = self.shape;
        let size = [height, width];
        if let Some(part) = self.augmentation.draw_erased(self.seed, epoch, index, size) {
            erase(image, size, part, values);
        }
    }

    fn crop(&mut self, dataset: &dyn Dataset, epoch: usize, index: usize) -> Result<(), DataError> {
        let [_, height, width] = self.shape;
        let picture = match dataset.picture(index)? {
            Some(picture) => picture,
            None => {
                dataset.image(index, &mut self.image)?;
                Picture::of_planes([height, width], &self.image)
            }
        };
        let size = picture.size();
        let part = self.augmentation.draw_part(self.seed, epoch, index, size);
        self.resize
            .part(&picture, part, [height, width], &mut self.image)
            .map_err(|reason| DataError::Resize { index, reason })
    }
}
