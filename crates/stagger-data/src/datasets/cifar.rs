//! CIFAR-10 and CIFAR-100, in the binary and the Python version, which hold the same.
//!
//! A file of the binary version is a row of records; a record is its label bytes (one for CIFAR-10; coarse, then fine
//! for CIFAR-100) and 3,072 bytes of pixels: 32×32, red plane, green plane, blue plane. See
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. The number of records is free.

mod files;
mod python;

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::search;
use crate::augmentation::Augmentation;
use crate::error::DataError;
use crate::file;
use crate::file_error::FileError;
use crate::memory::InMemory;
use crate::normalization::Normalization;
use crate::place::{OpenOptions, Place};
use crate::shown;
use crate::split::Split;
pub(crate) use files::is_there;
use files::{Files, Version};

const SIDE: usize = 32;
const SHAPE: [usize; 3] = [3, SIDE, SIDE];
const IMAGE_BYTES: usize = 3 * SIDE * SIDE;
/// Largest file of the Python version in bytes: that of CIFAR-100 has 155 million, and four times as many in protocol 0.
const PICKLE_LIMIT_BYTES: u64 = 1 << 30;
/// Largest file of names of the Python version.
const NAMES_LIMIT_BYTES: u64 = 1 << 20;

const CIFAR10: Place = Place {
    dataset: "cifar10",
    folders: &["cifar-10-batches-bin", "cifar-10-batches-py"],
    looks_for: "data_batch_1.bin (2, 3, …) and test_batch.bin",
    hint: "get the \"CIFAR-10 binary version\" or the \"CIFAR-10 python version\" from https://www.cs.toronto.edu/~kriz/cifar.html, \
           unpack it and name its folder with --data-dir",
};

const CIFAR100: Place = Place {
    dataset: "cifar100",
    folders: &["cifar-100-binary", "cifar-100-python"],
    looks_for: "train.bin and test.bin",
    hint: "get the \"CIFAR-100 binary version\" or the \"CIFAR-100 python version\" from https://www.cs.toronto.edu/~kriz/cifar.html, \
           unpack it and name its folder with --data-dir",
};

/// Which of the two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One label byte, 10 classes.
    Cifar10,
    /// A coarse label, which is skipped, and a fine label; 100 classes.
    Cifar100,
}

/// Labels and pixels of the records of one or more files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Class of each record.
    pub labels: Vec<u16>,
    /// 3,072 bytes of each record: C, H, W.
    pub pixels: Vec<u8>,
}

impl Layout {
    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Layout::Cifar10 => 10,
            Layout::Cifar100 => 100,
        }
    }

    fn label_bytes(self) -> usize {
        match self {
            Layout::Cifar10 => 1,
            Layout::Cifar100 => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Layout::Cifar10 => "cifar10",
            Layout::Cifar100 => "cifar100",
        }
    }

    fn class_name_file(self) -> &'static str {
        match self {
            Layout::Cifar10 => "batches.meta.txt",
            Layout::Cifar100 => "fine_label_names.txt",
        }
    }

    /// Appends the records that `reader` gives up to its end; `path` is for messages. On an
    /// error the records before it are in `records`.
    ///
    /// # Errors
    /// [`FileError::Truncated`] if it ends within a record, [`FileError::LabelOutOfRange`],
    /// [`DataError::Empty`] if there is no record, [`FileError::Io`].
    pub fn read(
        self,
        mut reader: impl Read,
        path: &Path,
        records: &mut Records,
    ) -> Result<(), DataError> {
        let mut bytes = [0; IMAGE_BYTES + 2];
        let label_bytes = self.label_bytes();
        let bytes = &mut bytes[..label_bytes + IMAGE_BYTES];
        for record in 0.. {
            let found = file::read_up_to(&mut reader, bytes).map_err(FileError::io(path))?;
            match found {
                0 if record == 0 => {
                    return Err(DataError::Empty {
                        what: shown::path(path),
                    });
                }
                0 => break,
                _ if found < bytes.len() => {
                    return Err(FileError::Truncated {
                        path: path.to_path_buf(),
                        record,
                        expected_bytes: bytes.len() as u64,
                        found_bytes: found as u64,
                    }
                    .into());
                }
                _ => {}
            }
            let label = usize::from(bytes[label_bytes - 1]);
            let classes = self.classes();
            if label >= classes {
                let path = path.to_path_buf();
                return Err(FileError::LabelOutOfRange {
                    path,
                    record,
                    label,
                    classes,
                }
                .into());
            }
            records.labels.push(label as u16);
            records.pixels.extend_from_slice(&bytes[label_bytes..]);
        }
        Ok(())
    }

    fn read_files(self, version: Version, paths: &[&Path]) -> Result<Records, DataError> {
        let mut opened = Vec::new();
        let mut size_bytes = 0;
        for &path in paths {
            let (file, bytes) = file::open(path)?;
            size_bytes += bytes;
            opened.push((file, path));
        }
        let mut records = Records::default();
        if version == Version::Binary {
            // The size of files that exist, so no promise of a header is trusted.
            records.pixels.reserve_exact(size_bytes as usize);
        }
        for (file, path) in opened {
            match version {
                Version::Binary => {
                    let reader = BufReader::with_capacity(1 << 16, file);
                    self.read(reader, path, &mut records)?;
                }
                Version::Python => {
                    self.read_python(&file::read(path, PICKLE_LIMIT_BYTES)?, path, &mut records)?;
                }
            }
        }
        Ok(records)
    }

    /// From the file of the version that is read, else from that of the other; else numbers.
    fn class_names(self, files: &Files) -> Result<Vec<String>, DataError> {
        let Some(listing) = search::listing(&files.folder) else {
            return Ok(self.numbers());
        };
        let text = listing.file(self.class_name_file());
        let mut pickles = self.class_name_pickles().iter();
        let pickle = pickles.find_map(|name| listing.file(name));
        let (path, names) = match (text, pickle) {
            (Some(text), pickle) if files.version == Version::Binary || pickle.is_none() => {
                let names = file::lines(&text)?;
                (text, names)
            }
            (_, Some(pickle)) => {
                let bytes = file::read(&pickle, NAMES_LIMIT_BYTES)?;
                let names = self.read_python_names(&bytes, &pickle)?;
                (pickle, names)
            }
            _ => return Ok(self.numbers()),
        };
        if names.len() != self.classes() {
            let (expected, found) = (self.classes(), names.len());
            return Err(FileError::ClassNames {
                path,
                expected,
                found,
            }
            .into());
        }
        Ok(names)
    }

    fn numbers(self) -> Vec<String> {
        (0..self.classes()).map(|class| class.to_string()).collect()
    }

    fn class_name_pickles(self) -> &'static [&'static str] {
        match self {
            Layout::Cifar10 => &["batches.meta", "batches.meta.pkl"],
            Layout::Cifar100 => &["meta", "meta.pkl"],
        }
    }

    fn normalization(self) -> Normalization {
        match self {
            Layout::Cifar10 => Normalization::cifar10(),
            Layout::Cifar100 => Normalization::cifar100(),
        }
    }
}

/// Reads CIFAR-10 from the folder of the options.
pub(crate) fn open_cifar10(options: &OpenOptions) -> Result<Split, DataError> {
    open(Layout::Cifar10, &CIFAR10, options)
}

/// Reads CIFAR-100 from the folder of the options.
pub(crate) fn open_cifar100(options: &OpenOptions) -> Result<Split, DataError> {
    open(Layout::Cifar100, &CIFAR100, options)
}

fn open(layout: Layout, place: &Place, options: &OpenOptions) -> Result<Split, DataError> {
    options.fixed_size(place.dataset, SIDE)?;
    let (files, other) = files::find(layout, place, options)?;
    let class_names = layout.class_names(&files)?;
    let part = |paths: &[&Path]| {
        let Records { labels, pixels } = layout.read_files(files.version, paths)?;
        InMemory::new(layout.name(), class_names.clone(), SHAPE, labels, pixels)
    };
    let train: Vec<&Path> = files.train.iter().map(|(_, path)| &**path).collect();
    let test: Vec<&Path> = files.test.iter().map(|path| &**path).collect();
    let mut notes: Vec<String> = files.missing(layout).into_iter().collect();
    if let Some(other) = other {
        let (taken, folder) = match files.version {
            Version::Binary => ("the binary", other.folder),
            Version::Python => ("the Python", other.folder),
        };
        let folder = shown::path(&folder);
        notes.push(format!(
            "{taken} version is read; the other one, in {folder}, is not used"
        ));
    }
    Ok(Split {
        final_test: None,
        train: Arc::new(part(&train)?),
        test: Arc::new(part(&test)?),
        normalization: layout.normalization(),
        augmentation: Augmentation::crop(SHAPE, true),
        inventory: None,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(layout: Layout, bytes: &[u8]) -> Result<Records, DataError> {
        let mut records = Records::default();
        layout
            .read(bytes, Path::new("x.bin"), &mut records)
            .map(|()| records)
    }

    #[test]
    fn records_come_back_in_order() {
        let mut bytes = vec![7; 1 + IMAGE_BYTES];
        bytes.extend(vec![3; 1 + IMAGE_BYTES]);
        let records = read(Layout::Cifar10, &bytes).unwrap();
        assert_eq!(records.labels, [7, 3]);
        assert_eq!(records.pixels[..IMAGE_BYTES], [7; IMAGE_BYTES]);
        assert_eq!(records.pixels[IMAGE_BYTES..], [3; IMAGE_BYTES]);
    }

    #[test]
    fn the_fine_label_is_the_second_byte() {
        let mut bytes = vec![19, 99];
        bytes.extend([1; IMAGE_BYTES]);
        assert_eq!(read(Layout::Cifar100, &bytes).unwrap().labels, [99]);
        bytes[1] = 100;
        let error = read(Layout::Cifar100, &bytes).unwrap_err();
        insta::assert_snapshot!(
            error,
            @"x.bin: record 0 has label 100, but there are only 100 classes (0 to 99)"
        );
    }

    #[test]
    fn an_incomplete_record_is_named() {
        let error = read(Layout::Cifar10, &[0; 2 * 3073 + 5]).unwrap_err();
        insta::assert_snapshot!(
            error,
            @"x.bin is truncated: record 2 has 3073 bytes, but only 5 are there; fetch the file again"
        );
        assert!(matches!(
            read(Layout::Cifar100, &[]),
            Err(DataError::Empty { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            head in proptest::collection::vec(any::<u8>(), 0..64),
            length in 0usize..8_000,
            wide: bool,
        ) {
            let bytes: Vec<u8> = head.iter().cycle().take(length).copied().collect();
            let layout = if wide { Layout::Cifar100 } else { Layout::Cifar10 };
            if let Ok(records) = read(layout, &bytes) {
                prop_assert_eq!(records.labels.len() * IMAGE_BYTES, records.pixels.len());
                prop_assert_eq!(bytes.len() % (layout.label_bytes() + IMAGE_BYTES), 0);
                prop_assert!(records.labels.iter().all(|&l| usize::from(l) < layout.classes()));
            }
        }
    }
}
