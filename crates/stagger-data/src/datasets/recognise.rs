//! Which data set a folder holds, by its files.

use std::path::Path;

use super::cifar::{self, Layout};
use super::image_folder::locate::locate;
use super::{archive, image_folder, mnist};
use crate::error::DataError;
use crate::place::OpenOptions;
use crate::shown;

/// The data set that a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Its name, as [`crate::open`] takes it.
    pub name: &'static str,
    /// A sentence on what was taken for it.
    pub note: String,
}

/// Says which data set the folder of the options holds, by names of files and folders, and the beginning of some.
///
/// # Errors
/// [`DataError::SeveralDatasets`], [`FileError::Archive`], [`DataError::Unrecognised`]; and what is wrong with a folder of pictures that
/// is nothing else.
///
/// [`FileError::Archive`]: crate::FileError::Archive
pub fn recognise(options: &OpenOptions) -> Result<Recognised, DataError> {
    let folder = options.data_dir.as_deref().unwrap_or(Path::new("."));
    let mut names = of_files(folder);
    let pictures = locate(folder, options.val_split.is_some());
    if (names.is_empty() || options.val_split.is_none()) && pictures.is_ok() {
        names.push(image_folder::NAME);
    }
    let dir = folder.to_path_buf();
    match (&names[..], pictures) {
        ([name], _) => {
            let is_guess = *name == "mnist" && mnist::recognise(folder).is_guess;
            let or_else = match is_guess {
                true => {
                    ", though its files have the same names as those of fashion-mnist and kmnist"
                }
                false => "",
            };
            Ok(Recognised {
                name,
                note: format!(
                    "{} is taken for --dataset {name}, by its files{or_else}",
                    shown::path(folder)
                ),
            })
        }
        ([], Err(error @ (DataError::Layout { .. } | DataError::ValSplitUnused { .. }))) => {
            Err(error)
        }
        ([], _) => Err(archive::refusal("--data-dir", folder).unwrap_or({
            let remedy = match (folder.is_dir(), folder.exists()) {
                (true, _) => "name the folder that holds them, or the data set with --dataset",
                (false, true) => "it is a file: name the folder that holds the files",
                (false, false) => "there is no such folder",
            };
            DataError::Unrecognised { dir, remedy }
        })),
        (several, _) => Err(DataError::SeveralDatasets {
            dir,
            found: several.join(", "),
        }),
    }
}

/// The names of all data sets whose files a folder holds.
pub(crate) fn names(folder: &Path) -> Vec<&'static str> {
    let mut names = of_files(folder);
    if locate(folder, false).is_ok() {
        names.push(image_folder::NAME);
    }
    names
}

fn of_files(folder: &Path) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (layout, name) in [(Layout::Cifar10, "cifar10"), (Layout::Cifar100, "cifar100")] {
        if cifar::is_there(layout, folder) {
            names.push(name);
        }
    }
    names.extend(mnist::recognise(folder).names);
    names
}
