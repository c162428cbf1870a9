//! Pictures that cannot be decoded: they are listed, or left out where that was asked for.

use std::path::{Path, PathBuf};

use super::scan::Item;
use super::tally::Tally;
use super::walk::{Image, SplitFolder};
use super::{FILE_LIMIT_BYTES, decode, dimensions};
use crate::error::DataError;
use crate::file;
use crate::file_error::FileError;
use crate::fingerprint::Fingerprint;
use crate::inventory::LeftOutReason;
use crate::parallel;
use crate::place::Colour;

/// Images that a sentence names, at most.
const MOST_NAMED: usize = 10;

/// How much of an image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The header alone.
    Header,
    /// Every pixel.
    Whole,
}

/// The error of all images of `items` that cannot be used, where `first` is the one of the first that was found.
pub(super) fn listed(items: &[&Item], depth: Depth, first: DataError) -> DataError {
    let DataError::File(first) = first else {
        return first;
    };
    let (FileError::Decode { path, .. }
    | FileError::Io { path, .. }
    | FileError::TooLarge { path, .. }) = &first
    else {
        return first.into();
    };
    let found = parallel::map(items, |item| match item.image.path == *path {
        true => Some(reason(&first)),
        false => error(&item.image, depth).map(|error| reason(&error)),
    });
    let found = found.into_iter().zip(items);
    let mut named: Vec<(PathBuf, String)> = found
        .filter_map(|(reason, item)| Some((item.image.path.clone(), reason?)))
        .collect();
    let count = named.len();
    if count < 2 && !matches!(first, FileError::Decode { .. }) {
        // It has a sentence of its own.
        return first.into();
    }
    named.truncate(MOST_NAMED);
    FileError::BadImages {
        named,
        count,
        is_all: depth == Depth::Whole,
    }
    .into()
}

/// Whether an error may be that of a damaged image.
pub(super) fn is_of_image(error: &DataError) -> bool {
    matches!(
        error,
        DataError::File(
            FileError::Decode { .. } | FileError::Io { .. } | FileError::TooLarge { .. }
        )
    )
}

/// Decodes every image of the splits, and takes out those that cannot be: they go to the tally. Gives a hash of what they are,
/// if there are any.
pub(super) fn leave_out_of<'a>(
    splits: impl IntoIterator<Item = Option<&'a mut SplitFolder>>,
    tally: &mut Tally,
) -> Option<u64> {
    let mut hash = None;
    for (number, split) in splits.into_iter().enumerate() {
        let Some(split) = split else { continue };
        leave_out(split, tally, |class, image| {
            let before: Fingerprint = hash.take().unwrap_or_default();
            let of_class = before.number(number as u64).bytes(class);
            hash = Some(of_class.bytes(image.name()).number(image.size_bytes));
        });
    }
    hash.map(Fingerprint::finish)
}

fn leave_out(split: &mut SplitFolder, tally: &mut Tally, mut left_out: impl FnMut(&[u8], &Image)) {
    // All classes at once, so that small ones keep the cores busy as well.
    let classes = split.classes.iter();
    let images: Vec<&Image> = classes.flat_map(|class| &class.images).collect();
    let is_bad = parallel::map(&images, |image| error(image, Depth::Whole).is_some());
    let mut is_bad = is_bad.into_iter();
    for class in &mut split.classes {
        let name = class.name.as_encoded_bytes();
        let (mut missed, mut example) = (0, None);
        class.images.retain(|image| {
            if is_bad.next() != Some(true) {
                return true;
            }
            missed += 1;
            example.get_or_insert_with(|| image.path.clone());
            tally.add(LeftOutReason::Damaged, image.path.clone());
            left_out(name, image);
            false
        });
        class.missed += missed;
        class.missed_example = class.missed_example.take().or(example);
    }
}

/// What is wrong with an image.
fn error(image: &Image, depth: Depth) -> Option<FileError> {
    match depth {
        Depth::Header => dimensions(&image.path).err(),
        Depth::Whole => decodes(&image.path).err(),
    }
}

fn decodes(path: &Path) -> Result<(), FileError> {
    let bytes = file::read(path, FILE_LIMIT_BYTES)?;
    let decoded = decode::decode(&bytes, Colour::WHITE);
    decoded
        .map(drop)
        .map_err(|reason| FileError::decode(path, &reason))
}

/// What is wrong, without the name of the file where another sentence names it.
fn reason(error: &FileError) -> String {
    match error {
        FileError::Decode { reason, .. } => reason.clone(),
        FileError::Io { source, .. } => format!("it cannot be read: {source}"),
        FileError::TooLarge {
            what,
            found,
            limit,
            why,
            ..
        } => format!("it has {found} {what}, more than the {limit} that {why}"),
        other => other.to_string(),
    }
}
