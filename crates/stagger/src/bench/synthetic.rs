//! Fixed random images: what a data set would be, without loading anything.

use std::sync::Arc;

use stagger_data::{Augmentation, DataError, Dataset, Normalization, Split};
use stagger_engine::HostTensor;
use stagger_runtime::{FeedError, Feeds, Inputs, Labels};

use crate::job::Job;

/// What the images are called where a data set has its name.
const NAME: &str = "random";

/// Batches that take turns: more than one, so that no stage sees the same input twice in a row.
const BATCHES: usize = 2;

/// A split of which only shape, classes and length are looked at.
pub fn split(shape: [usize; 3], classes: usize, batch_size: usize) -> Split {
    let images: Arc<dyn Dataset> = Arc::new(Blank {
        shape,
        names: (0..classes).map(|class| class.to_string()).collect(),
        len: batch_size.max(1),
    });
    Split {
        final_test: None,
        train: Arc::clone(&images),
        test: images,
        normalization: Normalization::cifar10(),
        augmentation: Augmentation::NONE,
        inventory: None,
        notes: Vec::new(),
    }
}

struct Blank {
    shape: [usize; 3],
    names: Vec<String>,
    len: usize,
}

impl Dataset for Blank {
    fn name(&self) -> &str {
        NAME
    }

    fn len(&self) -> usize {
        self.len
    }

    fn classes(&self) -> usize {
        self.names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.names
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn label(&self, index: usize) -> usize {
        index % self.names.len()
    }

    fn image(&self, _: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        pixels.fill(0);
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        0
    }
}

/// Feeds of the same few batches over and over, as values of about unit variance.
pub fn feeds(job: &Job, seed: u64) -> Feeds {
    let [channels, height, width] = job.split.train.shape();
    let shape = vec![job.batch_size, channels, height, width];
    let len = shape.iter().product::<usize>();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // Xorshift is random enough for images from which nothing is learnt; uniform in ±√3 has variance 1.
    let mut value = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0) * 3.0_f32.sqrt()
    };
    let batches = (0..BATCHES).map(|_| HostTensor {
        shape: shape.clone(),
        data: (0..len).map(|_| value()).collect(),
    });
    let classes = job.split.train.classes();
    Feeds {
        inputs: Box::new(Images(batches.collect())),
        labels: Box::new(Fixed((0..job.batch_size).map(|at| at % classes).collect())),
    }
}

struct Images(Vec<HostTensor>);

impl Inputs for Images {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        Ok(self.0[batch % self.0.len()].clone())
    }

    fn evaluation(&mut self, _: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

struct Fixed(Vec<usize>);

impl Labels for Fixed {
    fn train(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(self.0.clone())
    }

    fn evaluation(&mut self, _: usize) -> Result<Vec<usize>, FeedError> {
        Ok(self.0.clone())
    }
}
