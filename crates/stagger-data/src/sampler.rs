//! Which images make up which batch.

use crate::error::DataError;
use crate::random::{Purpose, Stream};

/// Deals the images of a data set into batches, epoch after epoch.
///
/// Batches are numbered through all epochs: batch `j` belongs to epoch `j / batches_per_epoch()`.
/// The order within an epoch is a Fisher–Yates permutation drawn from (seed, epoch) alone, so that
/// two samplers with the same arguments agree on the images, and with [`labels`](crate::labels) on
/// the labels, of every batch (docs/algorithm.md, "Semantics that are easy to get wrong").
#[derive(Clone, Debug)]
pub struct Sampler {
    len: usize,
    batch_size: usize,
    seed: u64,
    shuffled: bool,
    drop_last: bool,
    /// The order of the epoch that was used last.
    order: Vec<usize>,
    order_epoch: Option<usize>,
}

impl Sampler {
    /// A sampler that shuffles `len` images in every epoch. The last batch of an epoch is smaller
    /// if `batch_size` does not divide `len`.
    ///
    /// # Errors
    /// [`DataError::ZeroBatchSize`]; [`DataError::Empty`] if `len` is 0.
    pub fn new(len: usize, batch_size: usize, seed: u64) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::ZeroBatchSize);
        }
        if len == 0 {
            return Err(DataError::Empty {
                what: "the data set".to_string(),
            });
        }
        let (order, order_epoch) = (Vec::new(), None);
        Ok(Self {
            len,
            batch_size,
            seed,
            shuffled: true,
            drop_last: false,
            order,
            order_epoch,
        })
    }

    /// A sampler for evaluation: every epoch goes through the images in their own order.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn sequential(len: usize, batch_size: usize) -> Result<Self, DataError> {
        Ok(Self {
            shuffled: false,
            ..Self::new(len, batch_size, 0)?
        })
    }

    /// Leaves out the last batch of an epoch where it is smaller than the others.
    ///
    /// # Errors
    /// [`DataError::NoFullBatch`] if no batch would be left.
    pub fn drop_last(self) -> Result<Self, DataError> {
        let (len, batch_size) = (self.len, self.batch_size);
        if len < batch_size {
            return Err(DataError::NoFullBatch { len, batch_size });
        }
        Ok(Self {
            drop_last: true,
            ..self
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a sampler has at least one image.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Images of every batch but the last of an epoch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The seed of the permutations, and of augmentation in a [`Loader`](crate::Loader).
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Batches in an epoch, at least 1.
    pub fn batches_per_epoch(&self) -> usize {
        if self.drop_last {
            self.len / self.batch_size
        } else {
            self.len.div_ceil(self.batch_size)
        }
    }

    /// The epoch that batch `batch` belongs to.
    pub fn epoch_of(&self, batch: usize) -> usize {
        batch / self.batches_per_epoch()
    }

    /// Number of images in batch `batch`.
    pub fn batch_len(&self, batch: usize) -> usize {
        let first = batch % self.batches_per_epoch() * self.batch_size;
        self.batch_size.min(self.len - first)
    }

    /// The images of batch `batch`. Fast when batches of one epoch are asked for in a row; another
    /// epoch costs one permutation.
    pub fn indices(&mut self, batch: usize) -> &[usize] {
        let epoch = if self.shuffled {
            self.epoch_of(batch)
        } else {
            0
        };
        if self.order_epoch != Some(epoch) {
            self.shuffle(epoch);
        }
        let first = batch % self.batches_per_epoch() * self.batch_size;
        &self.order[first..first + self.batch_len(batch)]
    }

    fn shuffle(&mut self, epoch: usize) {
        self.order.clear();
        self.order.extend(0..self.len);
        self.order_epoch = Some(epoch);
        if !self.shuffled {
            return;
        }
        let mut stream = Stream::new(self.seed, Purpose::Shuffle, epoch as u64, 0);
        for last in (1..self.len).rev() {
            let other = stream.below(last as u64 + 1) as usize;
            self.order.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_is_fixed_for_ever() {
        let mut sampler = Sampler::new(10, 4, 42).unwrap();
        assert_eq!(sampler.indices(0), [3, 4, 1, 7]);
        assert_eq!(sampler.indices(2), [9, 5]);
        let second = sampler.indices(3).to_vec();
        // Going back gives the same again.
        assert_eq!(sampler.indices(0), [3, 4, 1, 7]);
        assert_eq!(Sampler::new(10, 4, 42).unwrap().indices(3), second);
        assert_ne!(second, [3, 4, 1, 7]);
    }

    #[test]
    fn evaluation_keeps_the_order() {
        let mut sampler = Sampler::sequential(5, 2).unwrap();
        assert_eq!(sampler.indices(0), [0, 1]);
        assert_eq!(sampler.indices(2), [4]);
        assert_eq!(sampler.indices(4), [2, 3]);
    }

    #[test]
    fn incomplete_batches_can_be_dropped() {
        let sampler = Sampler::new(10, 4, 0).unwrap().drop_last().unwrap();
        assert_eq!((sampler.batches_per_epoch(), sampler.epoch_of(3)), (2, 1));
        assert_eq!(
            (0..4)
                .map(|batch| sampler.batch_len(batch))
                .collect::<Vec<_>>(),
            [4; 4]
        );
        let error = Sampler::new(3, 4, 0).unwrap().drop_last().unwrap_err();
        insta::assert_snapshot!(error, @"3 images do not fill one batch of 4, and incomplete batches are dropped; choose a smaller batch size");
    }

    #[test]
    fn nothing_to_sample_is_an_error() {
        assert!(matches!(
            Sampler::new(3, 0, 0),
            Err(DataError::ZeroBatchSize)
        ));
        assert!(matches!(
            Sampler::new(0, 3, 0),
            Err(DataError::Empty { .. })
        ));
    }

    #[test]
    fn permutations_are_fair() {
        // Each of the 6 orders of 3 images comes up about equally often.
        let mut counts = std::collections::BTreeMap::new();
        let mut sampler = Sampler::new(3, 3, 9).unwrap();
        for epoch in 0..6_000 {
            *counts.entry(sampler.indices(epoch).to_vec()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (880..1120).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn every_epoch_uses_each_image_once(
            len in 1usize..200, batch_size in 1usize..50, seed: u64, epoch in 0usize..5,
        ) {
            let mut sampler = Sampler::new(len, batch_size, seed).unwrap();
            let per_epoch = sampler.batches_per_epoch();
            let mut seen = Vec::new();
            for batch in epoch * per_epoch..(epoch + 1) * per_epoch {
                prop_assert_eq!(sampler.epoch_of(batch), epoch);
                prop_assert_eq!(sampler.indices(batch).len(), sampler.batch_len(batch));
                seen.extend_from_slice(sampler.indices(batch));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }
    }
}
