//! Lists the images of a folder: which files there are, and which class each is of.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::decode;
use crate::error::DataError;
use crate::file;
use crate::fingerprint::Fingerprint;
use crate::place::Colour;

/// The most classes that labels can tell apart.
const MOST_CLASSES: usize = u16::MAX as usize + 1;

/// How files of the formats that are read are called.
const ENDINGS: [&str; 11] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "mpo",
];

/// One image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) label: u16,
    pub(super) size_bytes: u64,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) class_names: Vec<String>,
    pub(super) train: Vec<Item>,
    pub(super) test: Vec<Item>,
}

/// The folder of training images and that of evaluation images (`val`, else `test`) in `folder`,
/// or in the only folder within it that has them.
///
/// # Errors
/// A sentence that says what is there instead.
pub(crate) fn locate(folder: &Path) -> Result<[PathBuf; 2], String> {
    let pair = |folder: &Path| {
        let train = folder.join("train");
        let test = ["val", "test"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|p| p.is_dir());
        (train.is_dir(), train, test)
    };
    let (has_train, train, test) = pair(folder);
    if has_train {
        let missing = || "there is train, but neither val nor test beside it".to_string();
        return Ok([train, test.ok_or_else(missing)?]);
    }
    let inner = entries(folder).map_err(|error| error.to_string())?;
    let complete = inner.iter().filter_map(|(_, folder)| match pair(folder) {
        (true, train, Some(test)) => Some([train, test]),
        _ => None,
    });
    let mut complete: Vec<_> = complete.collect();
    match complete.len() {
        0 => Err("there is no folder train, neither in it nor one level below".to_string()),
        1 => Ok(complete.remove(0)),
        found => Err(format!(
            "{found} folders in it hold such images; name one of them"
        )),
    }
}

/// Lists the class folders in `train` and `test`. Classes and files are in the order of their
/// names. What is hidden is left out, and files that neither are pictures by their first bytes nor are called so.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Empty`] without classes or evaluation images,
/// [`DataError::EmptyClass`], [`DataError::UnknownClass`], [`DataError::TooLarge`] above 65,536
/// classes.
pub(super) fn scan([train, test]: &[PathBuf; 2]) -> Result<Listing, DataError> {
    let folders = |path: &Path| -> Result<Vec<(OsString, PathBuf)>, DataError> {
        let entries = entries(path)?;
        Ok(entries
            .into_iter()
            .filter(|(_, path)| path.is_dir())
            .collect())
    };
    let classes = folders(train)?;
    if classes.is_empty() {
        return Err(DataError::Empty {
            what: train.display().to_string(),
        });
    }
    if classes.len() > MOST_CLASSES {
        return Err(DataError::TooLarge {
            path: train.clone(),
            what: "classes",
            found: classes.len() as u64,
            limit: MOST_CLASSES as u64,
            why: "labels can tell apart",
        });
    }
    let mut listing = Listing {
        class_names: Vec::new(),
        train: Vec::new(),
        test: Vec::new(),
    };
    for (label, (name, path)) in classes.iter().enumerate() {
        listing
            .class_names
            .push(name.to_string_lossy().into_owned());
        if images(path, label as u16, &mut listing.train)? == 0 {
            return Err(DataError::EmptyClass { path: path.clone() });
        }
    }
    for (name, path) in folders(test)? {
        match classes.iter().position(|(class, _)| *class == name) {
            Some(label) => images(&path, label as u16, &mut listing.test)?,
            None => return Err(DataError::UnknownClass { path }),
        };
    }
    if listing.test.is_empty() {
        return Err(DataError::Empty {
            what: test.display().to_string(),
        });
    }
    Ok(listing)
}

/// Adds the images of a class folder and returns how many there are.
fn images(folder: &Path, label: u16, items: &mut Vec<Item>) -> Result<usize, DataError> {
    let before = items.len();
    for (_, path) in entries(folder)? {
        if !is_called_a_picture(&path) && !begins_like_a_picture(&path)? {
            continue;
        }
        let size_bytes = fs::metadata(&path).map_err(DataError::io(&path))?.len();
        items.push(Item {
            path,
            label,
            size_bytes,
        });
    }
    Ok(items.len() - before)
}

/// Whether a file's name says that it is a picture of a format that is read. If it is none, it is damaged, and not left out.
fn is_called_a_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        ENDINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(ending))
    })
}

/// Whether it is one whatever its name is.
fn begins_like_a_picture(path: &Path) -> Result<bool, DataError> {
    if !path.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    let (file, _) = file::open(path)?;
    let read = file.take(decode::SIGNATURE_BYTES).read_to_end(&mut head);
    read.map_err(DataError::io(path))?;
    Ok(decode::is_picture(&head))
}

/// Names and paths in a folder, sorted by name; hidden ones are left out.
fn entries(folder: &Path) -> Result<Vec<(OsString, PathBuf)>, DataError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// A hash of names, sizes and labels of the files; the pixels are not looked at, as that would
/// mean reading a set that may not fit into memory.
pub(super) fn fingerprint(
    class_names: &[String],
    items: &[Item],
    size: [usize; 2],
    background: Colour,
) -> u64 {
    let mut hash = Fingerprint::default()
        .number(size[0] as u64)
        .number(size[1] as u64);
    if background != Colour::WHITE {
        hash = hash.bytes(&background.0);
    }
    for name in class_names {
        hash = hash.bytes(name.as_bytes());
    }
    for item in items {
        let name = item.path.file_name().unwrap_or_default().as_encoded_bytes();
        hash = hash
            .bytes(name)
            .number(u64::from(item.label))
            .number(item.size_bytes);
    }
    hash.finish()
}
