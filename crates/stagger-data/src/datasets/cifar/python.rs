//! The Python version of CIFAR-10 and CIFAR-100: pickled dictionaries, read without executing anything.
//!
//! A batch has `data`, an array of a row of 3,072 bytes per image, and `labels`, for CIFAR-100 `fine_labels`. Names of classes
//! are in a file of their own under `label_names` or `fine_label_names`. Keys are bytes or texts, in any protocol.

use std::path::Path;

use stagger_pickle::{Id, Pickle, PickleError, is_of_numpy};

use super::{IMAGE_BYTES, Layout, Records};
use crate::error::DataError;
use crate::file_error::FileError;
use crate::shown;

impl Layout {
    /// Appends the images of a batch of the Python version; `path` is for messages.
    ///
    /// # Errors
    /// [`FileError::Pickle`] for what is no such batch, [`FileError::LabelOutOfRange`], [`DataError::Empty`].
    pub fn read_python(
        self,
        bytes: &[u8],
        path: &Path,
        records: &mut Records,
    ) -> Result<(), DataError> {
        let wrong = |what: String| {
            DataError::from(FileError::Pickle {
                path: path.to_path_buf(),
                what,
            })
        };
        let of_pickle = |error: PickleError| wrong(error.to_string());
        let pickle = Pickle::read(bytes, is_of_numpy).map_err(of_pickle)?;
        let entry = |key| entry(&pickle, key).map_err(wrong);
        let images = pickle.array(entry("data")?).map_err(of_pickle)?;
        let labels = pickle
            .integers(entry(self.labels_key())?)
            .map_err(of_pickle)?;
        let count = images.shape.first().copied().unwrap_or_default();
        let is_row = images.shape[..] == [count, IMAGE_BYTES];
        let is_planes = images.shape[..] == [count, 3, 32, 32] && !images.is_fortran;
        if (images.kind, images.item_bytes) != (b'u', 1) || !(is_row || is_planes) {
            return Err(wrong(format!(
                "its images are an array of shape {:?} of type {}{}, expected [{count}, {IMAGE_BYTES}] of type u1",
                images.shape,
                char::from(images.kind).escape_default(),
                images.item_bytes
            )));
        }
        if labels.len() != count {
            return Err(wrong(format!(
                "it has {count} images and {} labels",
                labels.len()
            )));
        }
        if count == 0 {
            return Err(DataError::Empty {
                what: shown::path(path),
            });
        }
        for (record, &label) in labels.iter().enumerate() {
            let classes = self.classes();
            let class = usize::try_from(label);
            let class = class.map_err(|_| wrong(format!("record {record} has label {label}")))?;
            if class >= classes {
                return Err(FileError::LabelOutOfRange {
                    path: path.to_path_buf(),
                    record,
                    label: class,
                    classes,
                }
                .into());
            }
        }
        records
            .labels
            .extend(labels.iter().map(|&label| label as u16));
        match images.is_fortran {
            false => records.pixels.extend_from_slice(&images.data),
            true => {
                let pixels =
                    (0..count).flat_map(|row| (0..IMAGE_BYTES).map(move |column| (row, column)));
                records
                    .pixels
                    .extend(pixels.map(|(row, column)| images.data[column * count + row]));
            }
        }
        Ok(())
    }

    /// The names of the classes in a file of the Python version; `path` is for messages.
    ///
    /// # Errors
    /// [`FileError::Pickle`].
    pub fn read_python_names(self, bytes: &[u8], path: &Path) -> Result<Vec<String>, DataError> {
        let wrong = |what: String| {
            DataError::from(FileError::Pickle {
                path: path.to_path_buf(),
                what,
            })
        };
        let pickle = Pickle::read(bytes, is_of_numpy).map_err(|error| wrong(error.to_string()))?;
        let names = entry(&pickle, self.names_key()).map_err(wrong)?;
        let names = pickle.items(names).unwrap_or_default();
        // One long text could be the name of many.
        let names = names.iter().take(self.classes() + 1).map(|name| {
            let name = pickle
                .text(*name)
                .filter(|name| name.len() <= MOST_NAME_BYTES);
            Some(name?.trim().to_owned())
        });
        let names = names.collect::<Option<Vec<String>>>();
        names.ok_or_else(|| wrong(format!("its `{}` are no texts", self.names_key())))
    }

    fn labels_key(self) -> &'static str {
        match self {
            Layout::Cifar10 => "labels",
            Layout::Cifar100 => "fine_labels",
        }
    }

    fn names_key(self) -> &'static str {
        match self {
            Layout::Cifar10 => "label_names",
            Layout::Cifar100 => "fine_label_names",
        }
    }
}

/// Longest name of a class.
const MOST_NAME_BYTES: usize = 1024;

fn entry(pickle: &Pickle<'_>, key: &str) -> Result<Id, String> {
    let found = pickle.entry(pickle.root(), key);
    found.ok_or_else(|| format!("it is a pickle without the entry `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch as the official files have it, written by Python 2 in protocol 2: `count` images, `width` bytes each.
    fn batch(labels: &[u8], width: usize, keys: [&str; 2]) -> Vec<u8> {
        let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
        let number = |number: usize| [&b"J"[..], &(number as u32).to_le_bytes()].concat();
        let pixels: Vec<u8> = labels
            .iter()
            .flat_map(|&label| vec![label + 100; width])
            .collect();
        [
            &b"\x80\x02}q\x01("[..],
            &text("batch_label"),
            &text("training batch 1 of 5"),
            &text(keys[0]),
            b"]q\x02(",
            &labels.iter().flat_map(|&label| [b'K', label]).collect::<Vec<u8>>(),
            b"e",
            &text(keys[1]),
            b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01",
            &number(labels.len()),
            &number(width),
            b"\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            &(pixels.len() as u32).to_le_bytes(),
            &pixels,
            b"tbu.",
        ]
        .concat()
    }

    fn read(layout: Layout, bytes: &[u8]) -> Result<Records, DataError> {
        let mut records = Records::default();
        let read = layout.read_python(bytes, Path::new("x"), &mut records);
        read.map(|()| records)
    }

    #[test]
    fn official_batches_give_labels_and_pixels() {
        let records = read(Layout::Cifar10, &batch(&[9, 0], 3072, ["labels", "data"])).unwrap();
        assert_eq!(records.labels, [9, 0]);
        assert_eq!(records.pixels, [vec![109; 3072], vec![100; 3072]].concat());
        let hundred = batch(&[99], 3072, ["fine_labels", "data"]);
        assert_eq!(read(Layout::Cifar100, &hundred).unwrap().labels, [99]);
    }

    #[test]
    fn what_is_no_batch_is_explained() {
        let message = |bytes: &[u8]| read(Layout::Cifar10, bytes).unwrap_err().to_string();
        let whole = batch(&[9, 0], 3072, ["labels", "data"]);
        insta::assert_snapshot!(message(&whole[..5000]), @"x: its pickle is damaged or cut short; fetch the file again");
        insta::assert_snapshot!(message(b"cos\nsystem\n(S'true'\ntR."), @"x: its pickle names `os.system`, which is no plain table, so that it is refused; nothing of it has been run; fetch the file again");
        insta::assert_snapshot!(message(&batch(&[9], 3072, ["fine_labels", "data"])), @"x: it is a pickle without the entry `labels`; fetch the file again");
        insta::assert_snapshot!(message(&batch(&[9], 784, ["labels", "data"])), @"x: its images are an array of shape [1, 784] of type u1, expected [1, 3072] of type u1; fetch the file again");
        insta::assert_snapshot!(message(&batch(&[10], 3072, ["labels", "data"])), @"x: record 0 has label 10, but there are only 10 classes (0 to 9)");
        insta::assert_snapshot!(message(&batch(&[], 3072, ["labels", "data"])), @"x holds no images");
    }
}
