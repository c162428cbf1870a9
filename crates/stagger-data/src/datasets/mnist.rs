//! MNIST and Fashion-MNIST: four IDX files of 28×28 grey images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::idx;
use crate::augmentation::Augmentation;
use crate::error::DataError;
use crate::memory::InMemory;
use crate::normalization::Normalization;
use crate::place::{OpenOptions, Place};
use crate::split::Split;

const SIDE: usize = 28;
const SHAPE: [usize; 3] = [1, SIDE, SIDE];
const CLASSES: usize = 10;
const GARMENTS: [&str; CLASSES] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

const IDX_FILES: &str = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte \
                         and t10k-labels-idx1-ubyte (each plain or .gz)";

const MNIST: Place = Place {
    dataset: "mnist",
    folders: &["MNIST/raw", "mnist", "MNIST"],
    looks_for: IDX_FILES,
    hint: "get the four files from https://ossci-datasets.s3.amazonaws.com/mnist/ and name their \
           folder with --data-dir",
};

const FASHION_MNIST: Place = Place {
    dataset: "fashion-mnist",
    folders: &["FashionMNIST/raw", "fashion-mnist"],
    looks_for: IDX_FILES,
    hint: "get the four files from https://github.com/zalandoresearch/fashion-mnist and name \
           their folder with --data-dir",
};

/// Which of the two sets; both use the same file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Digits,
    Fashion,
}

/// The files of one set: images and labels to train on, then to test on.
type Files = [PathBuf; 4];

/// The four files in `folder`, if all are there; each plain or with `.gz`, with `-` or `.` before
/// `idx` (both spellings are in circulation).
fn files(folder: &Path) -> Option<Files> {
    let find = |stem: &str, kind: &str| {
        let candidates = ["-", "."].into_iter().flat_map(|separator| {
            ["", ".gz"].map(|ending| folder.join(format!("{stem}{separator}{kind}{ending}")))
        });
        candidates.into_iter().find(|path| path.exists())
    };
    Some([
        find("train-images", "idx3-ubyte")?,
        find("train-labels", "idx1-ubyte")?,
        find("t10k-images", "idx3-ubyte")?,
        find("t10k-labels", "idx1-ubyte")?,
    ])
}

/// Reads MNIST from the folder of the options.
pub(crate) fn open_digits(options: &OpenOptions) -> Result<Split, DataError> {
    open(Variant::Digits, &MNIST, options)
}

/// Reads Fashion-MNIST from the folder of the options.
pub(crate) fn open_fashion(options: &OpenOptions) -> Result<Split, DataError> {
    open(Variant::Fashion, &FASHION_MNIST, options)
}

fn open(variant: Variant, place: &Place, options: &OpenOptions) -> Result<Split, DataError> {
    options.fixed_size(place.dataset, SIDE)?;
    let (_, [train_images, train_labels, test_images, test_labels]) = place.find(options, files)?;
    // Mirrored digits are other digits or none; mirrored garments are garments.
    let (normalization, flip) = match variant {
        Variant::Digits => (Normalization::mnist(), false),
        Variant::Fashion => (Normalization::fashion_mnist(), true),
    };
    Ok(Split {
        final_test: None,
        train: Arc::new(part(variant, &train_images, &train_labels)?),
        test: Arc::new(part(variant, &test_images, &test_labels)?),
        normalization,
        augmentation: Augmentation::crop(SHAPE, flip),
        inventory: None,
    })
}

fn part(variant: Variant, images_path: &Path, labels_path: &Path) -> Result<InMemory, DataError> {
    let (file, size_bytes) = idx::open(images_path)?;
    let images = idx::read_images(file, size_bytes, images_path)?;
    if images.size != [SIDE; 2] {
        let (path, expected) = (images_path.to_path_buf(), [SIDE; 2]);
        return Err(DataError::WrongDimensions {
            path,
            expected,
            found: images.size,
        });
    }
    let (file, size_bytes) = idx::open(labels_path)?;
    let labels = idx::read_labels(file, size_bytes, labels_path, CLASSES)?;
    if images.count != labels.len() {
        return Err(DataError::CountMismatch {
            images_path: images_path.to_path_buf(),
            images: images.count,
            labels_path: labels_path.to_path_buf(),
            labels: labels.len(),
        });
    }
    let (name, class_names) = match variant {
        Variant::Digits => (
            "mnist",
            (0..CLASSES).map(|digit| digit.to_string()).collect(),
        ),
        Variant::Fashion => ("fashion-mnist", GARMENTS.map(str::to_string).to_vec()),
    };
    InMemory::new(name, class_names, SHAPE, labels, images.pixels)
}
