//! The data sets, one per file, and the registry by which their names find them.
//!
//! To add a data set: write a file whose `open` returns a [`Split`], and add its line to [`REGISTRY`].

pub(crate) mod archive;
pub mod cifar;
pub mod idx;
pub mod image_folder;
mod mnist;
pub(crate) mod recognise;
mod search;
pub mod shapes;

use crate::error::DataError;
use crate::framing::Framing;
use crate::place::{EvaluationPart, OpenOptions};
use crate::split::Split;
use crate::trained_on::TrainedOn;

/// Every data set that [`open`] knows: its name, and what reads it.
const REGISTRY: &[Entry] = &[
    entry("shapes", shapes::open),
    entry("cifar10", cifar::open_cifar10),
    entry("cifar100", cifar::open_cifar100),
    entry("mnist", mnist::open_digits),
    entry("fashion-mnist", mnist::open_fashion),
    entry("emnist", mnist::open_emnist),
    entry("kmnist", mnist::open_kmnist),
    entry("qmnist", mnist::open_qmnist),
    entry("image-folder", image_folder::open),
];

/// A data set by name.
struct Entry {
    name: &'static str,
    open: fn(&OpenOptions) -> Result<Split, DataError>,
}

const fn entry(name: &'static str, open: fn(&OpenOptions) -> Result<Split, DataError>) -> Entry {
    Entry { name, open }
}

/// Names that [`open`] knows.
pub const NAMES: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = REGISTRY[index].name;
        index += 1;
    }
    names
};

/// Opens the data set `name` (one of [`NAMES`]) and checks all of it that is read at once: every
/// file but the images of an image folder that does not fit the cache.
///
/// # Errors
/// [`DataError::UnknownDataset`], [`DataError::MissingDataDir`], [`DataError::NotFound`],
/// [`DataError::FixedImageSize`], [`DataError::NoValSplit`], and whatever is wrong with a file.
pub fn open(name: &str, options: &OpenOptions) -> Result<Split, DataError> {
    let entry = REGISTRY.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| DataError::UnknownDataset {
        name: name.to_string(),
        known: NAMES.join(", "),
    })?;
    if options.val_split.is_some() && entry.name != image_folder::NAME {
        return Err(DataError::NoValSplit {
            dataset: entry.name,
        });
    }
    if options.framing == Framing::CentreCrop && entry.name != image_folder::NAME {
        return Err(DataError::NoPictures {
            dataset: entry.name,
        });
    }
    (entry.open)(options)
}

/// Opens the images of a data set on which a network is evaluated that was trained on such: its outputs are of the classes
/// that it was trained on, whatever order those of the images at hand have, and its inputs are brought to the size and
/// normalised as they were then. Of an image folder, the images to train on need not be there: the folder of the options may hold
/// one with the name of a split to evaluate on, or be that folder itself. The training images of the split that this gives
/// cannot be read.
///
/// # Errors
/// As [`open`]; [`DataError::NoValidation`]; [`DataError::NotTrainedOn`] for images of a class that the network does not know, and
/// [`DataError::OtherImages`] where classes or shape are others.
pub fn open_for_evaluation(
    name: &str,
    options: &OpenOptions,
    trained_on: &TrainedOn,
) -> Result<Split, DataError> {
    if name == image_folder::NAME {
        return image_folder::open_for_evaluation(options, trained_on);
    }
    if options.part == Some(EvaluationPart::Validation) {
        return Err(DataError::NoValidation {
            dataset: name.to_owned(),
        });
    }
    let mut split = open(name, options)?;
    let found = split.trained_on();
    if (&found.class_names, found.shape) != (&trained_on.class_names, trained_on.shape) {
        let words = |of: &TrainedOn| {
            let [channels, height, width] = of.shape;
            let names = of.class_names.join(", ");
            format!("{channels}×{height}×{width} of the classes {names}")
        };
        return Err(DataError::OtherImages {
            dataset: name.to_owned(),
            expected: words(trained_on),
            found: words(&found),
        });
    }
    split.normalization = trained_on.normalization.clone();
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::ValSplit;

    #[test]
    fn names_and_options_are_checked() {
        let message =
            |name: &str, options: &OpenOptions| open(name, options).unwrap_err().to_string();
        let options = OpenOptions::default();
        let known = NAMES.join(", ");
        let unknown = format!("there is no data set 'cifar'; known are {known}");
        assert_eq!(message("cifar", &options), unknown);
        insta::assert_snapshot!(message("cifar10", &options), @r#"cifar10 needs a data folder that holds data_batch_1.bin (2, 3, …) and test_batch.bin; get the "CIFAR-10 binary version" or the "CIFAR-10 python version" from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and name its folder with --data-dir"#);
        let sized = OpenOptions {
            image_size: Some(64),
            ..OpenOptions::default()
        };
        insta::assert_snapshot!(message("shapes", &sized), @"shapes has images of 32×32 pixels that are not resized, but an image size of 64 was asked for; leave the image size out");
        let split = OpenOptions {
            val_split: Some(ValSplit {
                share: 0.1,
                seed: 1,
            }),
            ..OpenOptions::default()
        };
        insta::assert_snapshot!(message("shapes", &split), @"shapes has images to evaluate on, so that --val-split does nothing; leave it out");
        let nowhere = OpenOptions {
            data_dir: Some("/no/such".into()),
            ..OpenOptions::default()
        };
        insta::assert_snapshot!(message("fashion-mnist", &nowhere), @"fashion-mnist: /no/such does not hold train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (each plain or .gz): there is no such folder; get the four files from https://github.com/zalandoresearch/fashion-mnist and name their folder with --data-dir");
        insta::assert_snapshot!(message("image-folder", &nowhere), @"image-folder: /no/such does not hold images in train/CLASS and in val/CLASS or test/CLASS: there is no such folder; put each class into a folder of its own and name the folder above train with --data-dir");
    }

    #[test]
    fn every_name_is_known() {
        for name in NAMES {
            let unknown = matches!(
                open(
                    name,
                    &OpenOptions {
                        image_size: Some(31),
                        ..OpenOptions::default()
                    }
                ),
                Err(DataError::UnknownDataset { .. })
            );
            assert!(!unknown, "{name}");
        }
    }
}
