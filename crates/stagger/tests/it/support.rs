//! Small data sets, and a data set that asks for an interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stagger::Interrupt;
use stagger::data::{DataError, Dataset, FileError, InMemory, Split};

/// Images of the training set of [`noise`].
const IMAGES: usize = 20;

/// Noise in three classes, 8×8 pixels; `salt` makes it other noise. Batches of 8 images make three of an epoch.
pub fn noise(salt: usize) -> Split {
    Split::new(images(IMAGES, salt), images(10, 3)).unwrap()
}

/// [`noise`] without salt that asks for an interrupt once `epochs` epochs of it have been read.
///
/// A sink may see an event after all batches have been trained; stage 0 cannot train a batch before it has been read. A run
/// that has some epochs more is therefore always interrupted before its end.
pub fn interrupting(epochs: usize, interrupt: Interrupt) -> Split {
    let first = epochs * IMAGES;
    let hook = move |read| {
        if read == first {
            interrupt.request();
        }
    };
    watched(hook)
}

/// [`noise`] without salt that asks for a snapshot at every fourth image of the second epoch, and goes on once the request has been taken.
pub fn snapshotting(interrupt: Interrupt) -> Split {
    let asked = interrupt.snapshot_flag();
    let hook = move |read: usize| {
        if (IMAGES..2 * IMAGES).contains(&read) && read.is_multiple_of(4) {
            interrupt.request_snapshot();
            while asked.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    };
    watched(hook)
}

fn watched(hook: impl Fn(usize) + Send + Sync + 'static) -> Split {
    let train = Watched {
        images: images(IMAGES, 0),
        read: AtomicUsize::new(0),
        hook: Box::new(hook),
    };
    Split::new(train, images(10, 3)).unwrap()
}

fn images(len: usize, seed: usize) -> InMemory {
    let labels = (0..len).map(|image| (image % 3) as u16).collect();
    let pixel = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7).wrapping_add(seed) as u8;
    let pixels = (0..len * 64).map(pixel).collect();
    InMemory::new("tiny", ["a", "b", "c"], [1, 8, 8], labels, pixels).unwrap()
}

/// [`noise`] without salt, of which no test image can be read while `is_broken`.
pub fn broken_while(is_broken: Arc<AtomicBool>) -> Split {
    let test = Broken(images(10, 3), is_broken);
    Split::new(images(IMAGES, 0), test).unwrap()
}

struct Broken(InMemory, Arc<AtomicBool>);

impl Dataset for Broken {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn class_names(&self) -> &[String] {
        self.0.class_names()
    }

    fn shape(&self) -> [usize; 3] {
        self.0.shape()
    }

    fn label(&self, index: usize) -> usize {
        self.0.label(index)
    }

    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(FileError::Io {
                path: "test".into(),
                source: std::io::Error::other("it is broken"),
            }
            .into());
        }
        self.0.image(index, pixels)
    }

    fn fingerprint(&self) -> u64 {
        self.0.fingerprint()
    }
}

struct Watched {
    images: InMemory,
    read: AtomicUsize,
    /// Is told how many images have been read before each.
    hook: Box<dyn Fn(usize) + Send + Sync>,
}

impl Dataset for Watched {
    fn name(&self) -> &str {
        self.images.name()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn classes(&self) -> usize {
        self.images.classes()
    }

    fn class_names(&self) -> &[String] {
        self.images.class_names()
    }

    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn label(&self, index: usize) -> usize {
        self.images.label(index)
    }

    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        (self.hook)(self.read.fetch_add(1, Ordering::SeqCst));
        self.images.image(index, pixels)
    }

    fn fingerprint(&self) -> u64 {
        self.images.fingerprint()
    }
}
