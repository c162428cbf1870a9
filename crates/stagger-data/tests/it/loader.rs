//! The loader: the same numbers whatever the threads, errors in the stream, prompt ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stagger_data::{
    Augmentation, DataError, Dataset, ImageBatch, Images, InMemory, Loader, LoaderOptions,
    Normalization, Sampler, shapes,
};

const SHAPE: [usize; 3] = [1, 3, 4];

/// Twenty small images; may fail, panic or dawdle.
struct Odd {
    inner: InMemory,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    dawdle: bool,
    asked: AtomicUsize,
}

impl Odd {
    fn new() -> Self {
        let pixels = (0..20 * 12).map(|i| i as u8).collect();
        let inner = InMemory::new("odd", ["a"], SHAPE, vec![0; 20], pixels).unwrap();
        let asked = AtomicUsize::new(0);
        Self {
            inner,
            fail_at: None,
            panic_at: None,
            dawdle: false,
            asked,
        }
    }
}

impl Dataset for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn classes(&self) -> usize {
        self.inner.classes()
    }
    fn class_names(&self) -> &[String] {
        self.inner.class_names()
    }
    fn shape(&self) -> [usize; 3] {
        self.inner.shape()
    }
    fn label(&self, index: usize) -> usize {
        self.inner.label(index)
    }
    fn fingerprint(&self) -> u64 {
        self.inner.fingerprint()
    }
    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.dawdle {
            // Another order of events with every number of threads.
            std::thread::sleep(Duration::from_micros(
                ((index * 7 + asked) % 5 * 200) as u64,
            ));
        }
        if self.fail_at == Some(index) {
            return Err(DataError::IndexOutOfRange { index, len: index });
        }
        assert!(self.panic_at != Some(index), "image {index} is bewitched");
        self.inner.image(index, pixels)
    }
}

fn images(odd: Odd) -> Images {
    Images {
        dataset: Arc::new(odd),
        normalization: Normalization {
            mean: vec![0.5],
            std: vec![0.25],
        },
        augmentation: Augmentation {
            pad: 1,
            flip: true,
            ..Augmentation::NONE
        },
    }
}

fn start(images: Images, sampler: Sampler, workers: usize, queue_batches: usize) -> Loader {
    Loader::start(
        images,
        sampler,
        3..17,
        LoaderOptions {
            workers,
            queue_batches,
        },
    )
    .unwrap()
}

fn sampler() -> Sampler {
    Sampler::new(20, 3, 5).unwrap()
}

#[test]
fn batches_are_the_same_whatever_the_threads() {
    let all = |odd, workers, queue| -> Vec<ImageBatch> {
        start(images(odd), sampler(), workers, queue)
            .map(Result::unwrap)
            .collect()
    };
    let reference = all(Odd::new(), 1, 1);
    let numbers: Vec<usize> = reference.iter().map(|batch| batch.batch).collect();
    assert_eq!(numbers, (3..17).collect::<Vec<_>>());
    for (workers, queue) in [(1, 4), (2, 1), (3, 2), (7, 1), (100, 1), (0, 0)] {
        let odd = Odd {
            dawdle: true,
            ..Odd::new()
        };
        assert_eq!(
            reference,
            all(odd, workers, queue),
            "{workers} threads, queue {queue}"
        );
    }
}

#[test]
fn a_batch_is_what_its_parts_say() {
    let images = images(Odd::new());
    let mut sampler = sampler();
    let loader = start(images.clone(), sampler.clone(), 2, 1);
    for batch in loader.map(Result::unwrap) {
        let epoch = sampler.epoch_of(batch.batch);
        let indices = sampler.indices(batch.batch).to_vec();
        assert_eq!(batch.shape, [indices.len(), 1, 3, 4]);
        let mut expected = Vec::new();
        for index in indices {
            let (mut pixels, mut placed, mut numbers) = ([0; 12], [0; 12], [0.0; 12]);
            images.dataset.image(index, &mut pixels).unwrap();
            images
                .augmentation
                .draw(5, epoch, index)
                .apply(SHAPE, &pixels, &mut placed);
            images.normalization.apply(&placed, &mut numbers);
            expected.extend(numbers);
        }
        assert_eq!(batch.pixels, expected);
    }
    // The last batch of an epoch is smaller: 20 = 6 × 3 + 2.
    assert_eq!(sampler.indices(6).len(), 2);
}

#[test]
fn the_first_error_comes_in_its_place_and_ends_the_stream() {
    let mut sampler = sampler();
    for workers in [1, 3] {
        let bad = sampler.indices(9)[1];
        let first = (3..17)
            .find(|&batch| sampler.indices(batch).contains(&bad))
            .unwrap();
        let odd = Odd {
            fail_at: Some(bad),
            dawdle: true,
            ..Odd::new()
        };
        let mut loader = start(images(odd), sampler.clone(), workers, 2);
        for batch in 3..first {
            assert_eq!(loader.next().unwrap().unwrap().batch, batch);
        }
        assert!(matches!(
            loader.next(),
            Some(Err(DataError::IndexOutOfRange { .. }))
        ));
        assert!(loader.next().is_none());
        assert!(loader.next().is_none());
    }
}

#[test]
fn a_panic_is_an_error() {
    let mut sampler = sampler();
    let bad = sampler.indices(4)[0];
    let first = (3..17)
        .find(|&batch| sampler.indices(batch).contains(&bad))
        .unwrap();
    let odd = Odd {
        panic_at: Some(bad),
        ..Odd::new()
    };
    let error = start(images(odd), sampler, 2, 1)
        .find_map(Result::err)
        .unwrap();
    let expected = format!("the loader panicked at batch {first}: image {bad} is bewitched");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn dropping_a_loader_ends_its_threads() {
    for taken in [0, 1, 5] {
        let images = images(Odd {
            dawdle: true,
            ..Odd::new()
        });
        let dataset = Arc::downgrade(&images.dataset);
        let options = LoaderOptions {
            workers: 3,
            queue_batches: 1,
        };
        let mut loader = Loader::start(images, sampler(), 0..usize::MAX, options).unwrap();
        assert_eq!(
            loader.by_ref().take(taken).filter(Result::is_ok).count(),
            taken
        );
        drop(loader);
        // The threads held the data set; joined, they have let go of it.
        assert!(dataset.upgrade().is_none());
    }
}

#[test]
fn nothing_to_load_and_parts_that_do_not_fit() {
    let options = LoaderOptions::default();
    let mut loader = Loader::start(images(Odd::new()), sampler(), 4..4, options).unwrap();
    assert!(loader.next().is_none());
    let short = Sampler::new(19, 3, 5).unwrap();
    let error = Loader::start(images(Odd::new()), short, 0..1, options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sampler draws from 19 images, but odd holds 20"
    );
    let coloured = Images {
        normalization: Normalization::cifar10(),
        ..images(Odd::new())
    };
    let error = Loader::start(coloured, sampler(), 0..1, options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the normalisation has 3 channels, but the images have 1"
    );
}

#[test]
fn evaluation_keeps_order_and_pixels() {
    let split = shapes::draw(0, 10, 25).unwrap();
    let options = LoaderOptions {
        workers: 2,
        queue_batches: 1,
    };
    let loader = Loader::evaluation(&split, 10, options).unwrap();
    let batches: Vec<ImageBatch> = loader.map(Result::unwrap).collect();
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.shape[0]).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let (mut pixels, mut numbers) = (vec![0; 3072], vec![0.0; 3072]);
    split.test.image(12, &mut pixels).unwrap();
    split.normalization.apply(&pixels, &mut numbers);
    assert_eq!(batches[1].pixels[2 * 3072..3 * 3072], numbers);
}
