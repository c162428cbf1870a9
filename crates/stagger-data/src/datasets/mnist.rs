//! MNIST and its relatives: four IDX files of square grey images, as torchvision, Kaggle and the original sites lay them out.
//!
//! The classes are the labels of the training images, in their order; EMNIST's letters have labels from 1. EMNIST's images
//! lie on their side in the files (rows are columns); they are taken as they are, as torchvision takes them.

mod choice;
mod family;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::idx;
use crate::augmentation::Augmentation;
use crate::error::DataError;
use crate::file_error::FileError;
use crate::memory::InMemory;
use crate::normalization::Normalization;
use crate::place::{OpenOptions, Place};
use crate::split::Split;
pub(crate) use choice::recognise;
use choice::{Chosen, choose};
use family::Family;

/// Side of the images of all these sets as they were published.
const SIDE: usize = 28;
/// Largest side.
const MOST_SIDE: usize = 4096;

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

const EMNIST: Place = Place {
    dataset: "emnist",
    folders: &["EMNIST/raw", "emnist", "gzip"],
    looks_for: "emnist-balanced-train-images-idx3-ubyte, -train-labels-idx1-ubyte, -test-images-idx3-ubyte and \
                -test-labels-idx1-ubyte (each plain or .gz; or byclass, bymerge, letters, digits, mnist)",
    hint: "get gzip.zip from https://www.nist.gov/itl/products-and-services/emnist-dataset, unpack it and name its \
           folder with --data-dir",
};

const KMNIST: Place = Place {
    dataset: "kmnist",
    folders: &["KMNIST/raw", "kmnist"],
    looks_for: IDX_FILES,
    hint: "get the four files from https://github.com/rois-codh/kmnist and name their folder with --data-dir",
};

const QMNIST: Place = Place {
    dataset: "qmnist",
    folders: &["QMNIST/raw", "qmnist"],
    looks_for: "qmnist-train-images-idx3-ubyte, qmnist-train-labels-idx2-int, qmnist-test-images-idx3-ubyte and \
                qmnist-test-labels-idx2-int (each plain or .gz)",
    hint: "get the four files from https://github.com/facebookresearch/qmnist and name their folder with --data-dir",
};

/// Reads MNIST, or another set in such files, from the folder of the options.
pub(crate) fn open_digits(options: &OpenOptions) -> Result<Split, DataError> {
    open(Family::Mnist, &MNIST, options)
}

/// Reads Fashion-MNIST from the folder of the options.
pub(crate) fn open_fashion(options: &OpenOptions) -> Result<Split, DataError> {
    open(Family::Fashion, &FASHION_MNIST, options)
}

/// Reads one of the sets of EMNIST from the folder of the options.
pub(crate) fn open_emnist(options: &OpenOptions) -> Result<Split, DataError> {
    open(Family::Emnist, &EMNIST, options)
}

/// Reads KMNIST from the folder of the options.
pub(crate) fn open_kmnist(options: &OpenOptions) -> Result<Split, DataError> {
    open(Family::Kmnist, &KMNIST, options)
}

/// Reads QMNIST from the folder of the options.
pub(crate) fn open_qmnist(options: &OpenOptions) -> Result<Split, DataError> {
    open(Family::Qmnist, &QMNIST, options)
}

fn open(family: Family, place: &Place, options: &OpenOptions) -> Result<Split, DataError> {
    options.refuse_background(place.dataset)?;
    let Chosen { set, files, at } = choose(family, place, options)?;
    let [train_images, train_labels, test_images, test_labels] = &files;
    let train = Part::read(train_images, train_labels, None)?;
    options.fixed_size(place.dataset, train.side)?;
    let classes = train.classes();
    let test = Part::read(test_images, test_labels, Some(train.side))?;
    // What a prefix says counts for more than a name that stands for all of them.
    let of_files = Family::of(&set.prefix).unwrap_or(family);
    let names = of_files.class_names(&set.prefix, &classes);
    let shape = [1, train.side, train.side];
    let is_as_published =
        set.prefix.is_empty() && train.side == SIDE && classes.iter().all(|&label| label < 10);
    // Mirrored digits are other digits or none; mirrored garments are garments.
    let flip = of_files == Family::Fashion;
    let [train_count, test_count] = [train.labels.len(), test.labels.len()];
    let side = train.side;
    let train = train.into_set(place.dataset, &names, &classes, train_labels)?;
    let test = test.into_set(place.dataset, &names, &classes, train_labels)?;
    let normalization = match family {
        Family::Mnist if is_as_published => Normalization::mnist(),
        Family::Fashion if is_as_published => Normalization::fashion_mnist(),
        _ => Normalization::measure(&train)?,
    };
    let has_constants = matches!(family, Family::Mnist | Family::Fashion);
    let is_ordinary =
        is_as_published && classes.iter().copied().eq(0..10) && at.is_none() && has_constants;
    let notes = match is_ordinary {
        true => Vec::new(),
        false => {
            let name = match &set.prefix[..] {
                "" => place.dataset,
                prefix => prefix,
            };
            let at = at.map_or_else(String::new, |at| format!(" ({at})"));
            vec![format!(
                "{name}{at}: {train_count} images of {side}×{side} to train on, {test_count} to evaluate on, {}",
                note_on_classes(&classes, of_files)
            )]
        }
    };
    Ok(Split {
        train: Arc::new(train),
        test: Arc::new(test),
        final_test: None,
        normalization,
        augmentation: augmentation(shape, flip),
        inventory: None,
        notes,
    })
}

/// How many classes there are, and what is unusual about them or their images.
fn note_on_classes(classes: &[u16], family: Family) -> String {
    let mut note = match classes.len() {
        1 => "1 class".to_owned(),
        count => format!("{count} classes"),
    };
    if !classes.iter().copied().eq(0..classes.len() as u16) {
        let last = classes.len() - 1;
        note.push_str(&format!("; labels {} became 0 to {last}", listed(classes)));
    }
    if family == Family::Emnist {
        note.push_str("; images lie on their side, as EMNIST has them");
    }
    note
}

/// As large images are shifted, in proportion: a shift must not push a small one out of sight.
fn augmentation(shape: [usize; 3], flip: bool) -> Augmentation {
    let usual = Augmentation::crop(shape, flip);
    Augmentation {
        pad: usual.pad.min(shape[1].div_ceil(7)),
        ..usual
    }
}

/// Labels in order, in words: `1 to 26`, or `3, 7`.
fn listed(labels: &[u16]) -> String {
    let (Some(first), Some(last)) = (labels.first(), labels.last()) else {
        return String::new();
    };
    if labels.iter().copied().eq(*first..=*last) {
        return format!("{first} to {last}");
    }
    let mut shown: Vec<String> = labels.iter().take(10).map(u16::to_string).collect();
    if labels.len() > 10 {
        shown.push("…".to_owned());
        shown.push(last.to_string());
    }
    shown.join(", ")
}

/// Images and their labels as the files have them.
struct Part {
    side: usize,
    pixels: Vec<u8>,
    labels: Vec<u16>,
    labels_path: PathBuf,
}

impl Part {
    /// Images of the side that is asked for, or of any.
    fn read(
        images_path: &Path,
        labels_path: &Path,
        side: Option<usize>,
    ) -> Result<Self, DataError> {
        let (file, size_bytes) = idx::open(images_path)?;
        let images = idx::read_images(file, size_bytes, images_path)?;
        let [height, width] = images.size;
        let path = || images_path.to_path_buf();
        if height != width || height > MOST_SIDE {
            return Err(FileError::NotSquare {
                path: path(),
                found: images.size,
                most: MOST_SIDE,
            }
            .into());
        }
        if let Some(side) = side.filter(|&side| side != height) {
            return Err(FileError::WrongDimensions {
                path: path(),
                expected: [side; 2],
                found: images.size,
            }
            .into());
        }
        let (file, size_bytes) = idx::open(labels_path)?;
        let labels = idx::read_labels(file, size_bytes, labels_path)?;
        if images.count != labels.len() {
            return Err(FileError::CountMismatch {
                images_path: path(),
                images: images.count,
                labels_path: labels_path.to_path_buf(),
                labels: labels.len(),
            }
            .into());
        }
        Ok(Self {
            side: height,
            pixels: images.pixels,
            labels,
            labels_path: labels_path.to_path_buf(),
        })
    }

    /// The labels that there are, in order.
    fn classes(&self) -> Vec<u16> {
        let mut classes = self.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// With each label replaced by its place among `classes`, which those in `train_labels` are.
    fn into_set(
        self,
        dataset: &str,
        names: &[String],
        classes: &[u16],
        train_labels: &Path,
    ) -> Result<InMemory, DataError> {
        let class = |(record, label): (usize, &u16)| {
            let found = classes.binary_search(label);
            found
                .map(|class| class as u16)
                .map_err(|_| FileError::NewLabel {
                    path: self.labels_path.clone(),
                    record,
                    label: *label,
                    train_path: train_labels.to_path_buf(),
                    known: listed(classes),
                })
        };
        let labels = self.labels.iter().enumerate().map(class);
        let labels = labels.collect::<Result<Vec<u16>, FileError>>()?;
        let shape = [1, self.side, self.side];
        InMemory::new(dataset, names.to_vec(), shape, labels, self.pixels)
    }
}
