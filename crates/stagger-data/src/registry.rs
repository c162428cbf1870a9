//! Data sets by name.

use std::path::{Path, PathBuf};

use crate::cifar::{self, Layout};
use crate::dataset::Split;
use crate::error::DataError;
use crate::image_folder;
use crate::mnist::{self, Variant};
use crate::shapes;

/// Names that [`open`] knows.
pub const NAMES: [&str; 6] = [
    "shapes",
    "cifar10",
    "cifar100",
    "mnist",
    "fashion-mnist",
    "image-folder",
];

/// Where a data set is and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Folder of the files, or one that holds their usual folder; not needed for `shapes`.
    pub data_dir: Option<PathBuf>,
    /// Side in pixels that images of an image folder are brought to; others have a fixed size.
    pub image_size: Option<usize>,
    /// An image folder is kept in memory, decoded, if it takes no more bytes than this.
    pub cache_bytes: u64,
    /// Seed of `shapes`: another seed draws other images. Other sets do not depend on it.
    pub seed: u64,
}

impl Default for OpenOptions {
    /// No folder, native image size, 1 GiB of cache, seed 0.
    fn default() -> Self {
        Self {
            data_dir: None,
            image_size: None,
            cache_bytes: 1 << 30,
            seed: 0,
        }
    }
}

/// Opens the data set `name` (one of [`NAMES`]) and checks all of it that is read at once: every
/// file but the images of an image folder that does not fit the cache.
///
/// # Errors
/// [`DataError::UnknownDataset`], [`DataError::MissingDataDir`], [`DataError::NotFound`],
/// [`DataError::FixedImageSize`], and whatever is wrong with a file.
pub fn open(name: &str, options: &OpenOptions) -> Result<Split, DataError> {
    let fixed = |dataset, native| match options.image_size {
        Some(requested) if requested != native => Err(DataError::FixedImageSize {
            dataset,
            native,
            requested,
        }),
        _ => Ok(()),
    };
    match name {
        "shapes" => {
            fixed("shapes", 32)?;
            shapes::draw(options.seed, shapes::TRAIN_LEN, shapes::TEST_LEN)
        }
        "cifar10" => {
            fixed("cifar10", 32)?;
            open_cifar(&CIFAR10, Layout::Cifar10, options)
        }
        "cifar100" => {
            fixed("cifar100", 32)?;
            open_cifar(&CIFAR100, Layout::Cifar100, options)
        }
        "mnist" => {
            fixed("mnist", 28)?;
            mnist::open(Variant::Digits, &MNIST.find(options, mnist::files)?.1)
        }
        "fashion-mnist" => {
            fixed("fashion-mnist", 28)?;
            mnist::open(
                Variant::Fashion,
                &FASHION_MNIST.find(options, mnist::files)?.1,
            )
        }
        "image-folder" => {
            let folder = IMAGE_FOLDER.folder(options)?;
            let folders = image_folder::locate(folder)
                .map_err(|reason| IMAGE_FOLDER.not_found(folder, reason))?;
            image_folder::open(&folders, options.image_size, options.cache_bytes)
        }
        _ => Err(DataError::UnknownDataset {
            name: name.to_string(),
            known: NAMES.join(", "),
        }),
    }
}

fn open_cifar(place: &Place, layout: Layout, options: &OpenOptions) -> Result<Split, DataError> {
    let (folder, files) = place.find(options, |folder| cifar::files(layout, folder))?;
    cifar::open(layout, &folder, files)
}

/// Where the files of a data set usually are.
struct Place {
    dataset: &'static str,
    /// Folders within the given one that are looked into as well.
    folders: &'static [&'static str],
    looks_for: &'static str,
    hint: &'static str,
}

const CIFAR10: Place = Place {
    dataset: "cifar10",
    folders: &["cifar-10-batches-bin"],
    looks_for: "data_batch_1.bin (2, 3, …) and test_batch.bin",
    hint: "get the \"CIFAR-10 binary version\" from https://www.cs.toronto.edu/~kriz/cifar.html, \
           unpack it and name its folder with --data-dir",
};

const CIFAR100: Place = Place {
    dataset: "cifar100",
    folders: &["cifar-100-binary"],
    looks_for: "train.bin and test.bin",
    hint: "get the \"CIFAR-100 binary version\" from https://www.cs.toronto.edu/~kriz/cifar.html, \
           unpack it and name its folder with --data-dir",
};

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

const IMAGE_FOLDER: Place = Place {
    dataset: "image-folder",
    folders: &[],
    looks_for: "train/CLASS/*.jpg (or .jpeg, .png) and val/CLASS/* or test/CLASS/*",
    hint: "put each class into a folder of its own and name the folder above train with \
           --data-dir",
};

impl Place {
    fn folder<'a>(&self, options: &'a OpenOptions) -> Result<&'a Path, DataError> {
        let Self {
            dataset,
            looks_for,
            hint,
            ..
        } = *self;
        options
            .data_dir
            .as_deref()
            .ok_or(DataError::MissingDataDir {
                dataset,
                looks_for,
                hint,
            })
    }

    /// The folder that holds the files, and the files, as `files` finds them.
    fn find<F>(
        &self,
        options: &OpenOptions,
        files: impl Fn(&Path) -> Option<F>,
    ) -> Result<(PathBuf, F), DataError> {
        let given = self.folder(options)?;
        let inner = self.folders.iter().map(|folder| given.join(folder));
        std::iter::once(given.to_path_buf())
            .chain(inner)
            .find_map(|folder| files(&folder).map(|found| (folder, found)))
            .ok_or_else(|| self.not_found(given, self.what_is_there(given)))
    }

    fn what_is_there(&self, folder: &Path) -> String {
        if !folder.is_dir() {
            return "there is no such folder".to_string();
        }
        if folder.join("data_batch_1").exists() || folder.join("cifar-10-batches-py").is_dir() {
            return "it holds the Python version, which is not read".to_string();
        }
        if image_folder::locate(folder).is_ok() {
            return "it looks like --dataset image-folder".to_string();
        }
        format!(
            "they are neither there nor in its folder {}",
            self.folders.join(" or ")
        )
    }

    fn not_found(&self, folder: &Path, reason: String) -> DataError {
        let Self {
            dataset,
            looks_for,
            hint,
            ..
        } = *self;
        let reason = if folder.is_dir() {
            reason
        } else {
            "there is no such folder".to_string()
        };
        DataError::NotFound {
            dataset,
            dir: folder.to_path_buf(),
            looks_for,
            reason,
            hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_checked() {
        let message =
            |name: &str, options: &OpenOptions| open(name, options).unwrap_err().to_string();
        let options = OpenOptions::default();
        insta::assert_snapshot!(message("cifar", &options), @"there is no data set 'cifar'; known are shapes, cifar10, cifar100, mnist, fashion-mnist, image-folder");
        insta::assert_snapshot!(message("cifar10", &options), @r#"cifar10 needs a data folder that holds data_batch_1.bin (2, 3, …) and test_batch.bin; get the "CIFAR-10 binary version" from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and name its folder with --data-dir"#);
        let sized = OpenOptions {
            image_size: Some(64),
            ..OpenOptions::default()
        };
        insta::assert_snapshot!(message("shapes", &sized), @"shapes has images of 32×32 pixels that are not resized, but an image size of 64 was asked for; leave the image size out");
        let nowhere = OpenOptions {
            data_dir: Some("/no/such".into()),
            ..OpenOptions::default()
        };
        insta::assert_snapshot!(message("fashion-mnist", &nowhere), @"fashion-mnist: /no/such does not hold train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (each plain or .gz): there is no such folder; get the four files from https://github.com/zalandoresearch/fashion-mnist and name their folder with --data-dir");
        insta::assert_snapshot!(message("image-folder", &nowhere), @"image-folder: /no/such does not hold train/CLASS/*.jpg (or .jpeg, .png) and val/CLASS/* or test/CLASS/*: there is no such folder; put each class into a folder of its own and name the folder above train with --data-dir");
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
