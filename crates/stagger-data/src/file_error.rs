//! What can be wrong with a file of a data set.

use std::io;
use std::path::{Path, PathBuf};

use crate::shown::{self, path as shown};

/// What is wrong with a file of a data set, or with a folder that cannot be read; each message is one sentence as those of
/// [`DataError`](crate::DataError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", shown(.path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file ends within a record, or before its last one.
    #[error(
        "{} is truncated: record {record} has {expected_bytes} bytes, but only {found_bytes} are \
         there; fetch the file again",
        shown(.path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Number of the incomplete record, from 0.
        record: usize,
        /// Bytes of a whole record.
        expected_bytes: u64,
        /// Bytes found of this record.
        found_bytes: u64,
    },
    /// A file ends within its header.
    #[error(
        "{} is truncated: its header has {expected_bytes} bytes, but only {found_bytes} are \
         there; fetch the file again",
        shown(.path)
    )]
    TruncatedHeader {
        /// The file.
        path: PathBuf,
        /// Bytes of the header.
        expected_bytes: usize,
        /// Bytes of the file.
        found_bytes: usize,
    },
    /// A file has bytes after its last record.
    #[error(
        "{} continues after its {records} records: expected {expected_bytes} bytes in all, found \
         more; fetch the file again",
        shown(.path)
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Records announced by the header.
        records: usize,
        /// Bytes of header and records.
        expected_bytes: u64,
    },
    /// The first bytes of a file are not those of its format.
    #[error(
        "{} is not an IDX file of the expected kind: it starts with {found:#010x}, expected \
         {expected:#010x}; fetch the file again",
        shown(.path)
    )]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// The first four bytes of the format, big-endian.
        expected: u32,
        /// The first four bytes of the file.
        found: u32,
    },
    /// A file of the Python version of a data set is not what it should be.
    #[error("{}: {what}; fetch the file again", shown(.path))]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An archive of the data set is there, and not its files.
    #[error(
        "{dataset}: {} is an archive, which is not read as it is; unpack it with `{command}` and use --data-dir {}",
        shown(.path), shown(.then)
    )]
    Archive {
        /// Name of the data set.
        dataset: &'static str,
        /// The archive.
        path: PathBuf,
        /// What unpacks it, for a shell.
        command: String,
        /// The folder to name then.
        then: PathBuf,
    },
    /// A compressed file does not decompress.
    #[error("{} is a corrupt gzip file: {source}; fetch the file again", shown(.path))]
    CorruptGzip {
        /// The file.
        path: PathBuf,
        /// The decompressor's reason.
        source: io::Error,
    },
    /// A record's label is not a class.
    #[error(
        "{}: record {record} has label {label}, but there are only {classes} classes (0 to {})",
        shown(.path), .classes.saturating_sub(1)
    )]
    LabelOutOfRange {
        /// The file.
        path: PathBuf,
        /// Number of the record, from 0.
        record: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Images and labels come from two files that do not belong together.
    #[error(
        "{} holds {images} images, but {} holds {labels} labels; both must come from one set",
        shown(.images_path), shown(.labels_path)
    )]
    CountMismatch {
        /// File of the images.
        images_path: PathBuf,
        /// Number of images.
        images: usize,
        /// File of the labels.
        labels_path: PathBuf,
        /// Number of labels.
        labels: usize,
    },
    /// A file declares images of another size than its data set has.
    #[error(
        "{} holds images of {}×{} pixels (height × width), expected {}×{}",
        shown(.path), .found[0], .found[1], .expected[0], .expected[1]
    )]
    WrongDimensions {
        /// The file.
        path: PathBuf,
        /// Height and width the data set has.
        expected: [usize; 2],
        /// Height and width the file declares.
        found: [usize; 2],
    },
    /// Images that are not as high as wide, or too large.
    #[error(
        "{} holds images of {}×{} pixels (height × width); square ones of at most {most}×{most} were expected",
        shown(.path), .found[0], .found[1]
    )]
    NotSquare {
        /// The file.
        path: PathBuf,
        /// Height and width that the file declares.
        found: [usize; 2],
        /// The largest side that is read.
        most: usize,
    },
    /// A label of a test image that no training image has.
    #[error(
        "{}: record {record} has label {label}, which no training image has; the labels in {} are {known}",
        shown(.path), shown(.train_path)
    )]
    NewLabel {
        /// The file.
        path: PathBuf,
        /// Number of the record, from 0.
        record: usize,
        /// Its label.
        label: u16,
        /// The file of the training labels.
        train_path: PathBuf,
        /// Those in it, in words.
        known: String,
    },
    /// A file declares more than its size can hold, or more than is read.
    #[error("{} declares {found} {what}, more than the {limit} that {why}", shown(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// The count declared.
        found: u64,
        /// The largest count accepted.
        limit: u64,
        /// Where the limit comes from.
        why: &'static str,
    },
    /// A file of class names does not name every class once.
    #[error("{} names {found} classes, expected {expected}", shown(.path))]
    ClassNames {
        /// The file.
        path: PathBuf,
        /// Number of classes.
        expected: usize,
        /// Names found.
        found: usize,
    },
    /// An image does not decode.
    #[error("{} does not decode: {reason}; replace or remove the file", shown(.path))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// Images of an image folder cannot be decoded.
    #[error("{}", bad_images(.named, *.count, *.is_all))]
    BadImages {
        /// The first ten of them, each with the reason.
        named: Vec<(PathBuf, String)>,
        /// How many there are.
        count: usize,
        /// Whether every image has been decoded to find them.
        is_all: bool,
    },
}

fn bad_images(named: &[(PathBuf, String)], count: usize, is_all: bool) -> String {
    if let ([(path, reason)], 1) = (named, count) {
        return format!(
            "{} does not decode: {reason}; replace or remove the file, or add --skip-bad-images to leave out all that do not \
             decode",
            shown(path)
        );
    }
    let at_least = if is_all { "" } else { "at least " };
    let mut text = format!(
        "{at_least}{count} images do not decode; replace or remove them, or add --skip-bad-images to leave out all that do not \
         decode:"
    );
    for (path, reason) in named {
        text += &format!("\n  {}: {reason}", shown(path));
    }
    if count > named.len() {
        text += &format!("\n  … and {} more", count - named.len());
    }
    text
}

impl FileError {
    /// A [`FileError::Decode`]; what a decoder says may be of several lines, and becomes one.
    pub(crate) fn decode(path: &Path, reason: &str) -> FileError {
        FileError::Decode {
            path: path.to_path_buf(),
            reason: shown::one_line(reason),
        }
    }

    /// A [`FileError::Io`] at `path`; made for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
        move |source| FileError::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}
