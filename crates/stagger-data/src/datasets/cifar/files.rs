//! Where the files of CIFAR-10 and CIFAR-100 are, in the binary and the Python version.

use std::path::{Path, PathBuf};

use super::Layout;
use crate::datasets::search::{self, Listing};
use crate::error::DataError;
use crate::file;
use crate::foreign::ForeignFile;
use crate::place::{OpenOptions, Place};
use crate::shown;

/// In which of its two forms a set is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Binary,
    Python,
}

impl Version {
    const ALL: [Self; 2] = [Self::Binary, Self::Python];

    /// What names of files end with, in lower case.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Binary => &[".bin"],
            Self::Python => &["", ".pkl", ".pickle", ".p"],
        }
    }
}

/// Files of one version in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
    /// The files to train on, by the numbers in their names.
    pub(super) train: Vec<(u32, PathBuf)>,
    pub(super) test: Option<PathBuf>,
}

/// Training batches of CIFAR-10 as it is published.
const BATCHES: u32 = 5;

impl Files {
    fn of(layout: Layout, version: Version, listing: &Listing) -> Self {
        let stem = |file: &str| {
            let name = file.to_ascii_lowercase();
            let mut endings = version.endings().iter().rev();
            endings.find_map(|ending| Some(name.strip_suffix(ending)?.to_owned()))
        };
        let path = |wanted: &str| {
            let mut files = listing.files.iter();
            let found = files.find(|file| stem(file).as_deref() == Some(wanted));
            found.map(|file| listing.folder.join(file))
        };
        let (train, test) = match layout {
            Layout::Cifar10 => {
                let number = |file: &String| -> Option<(u32, PathBuf)> {
                    let number = stem(file)?.strip_prefix("data_batch_")?.parse().ok()?;
                    Some((number, listing.folder.join(file)))
                };
                let mut train: Vec<(u32, PathBuf)> =
                    listing.files.iter().filter_map(number).collect();
                train.sort();
                train.dedup_by_key(|(number, _)| *number);
                (train, path("test_batch"))
            }
            Layout::Cifar100 => (
                path("train").map(|path| (1, path)).into_iter().collect(),
                path("test"),
            ),
        };
        Self {
            version,
            folder: listing.folder.clone(),
            train,
            test,
        }
    }

    fn is_complete(&self) -> bool {
        !self.train.is_empty() && self.test.is_some()
    }

    /// `train` and `test` may be anything.
    fn is_of_cifar(&self) -> bool {
        let any = self
            .train
            .first()
            .map(|(_, path)| path)
            .or(self.test.as_ref());
        let is_named = any.and_then(|path| path.file_name()).is_some_and(|name| {
            let name = name.to_string_lossy().to_ascii_lowercase();
            name.contains("batch")
        });
        let begins = |path: &PathBuf| {
            let mut head = [0; 2];
            let read = |(mut file, size): (ForeignFile, u64)| {
                let found = file::read_up_to(&mut file, &mut head).unwrap_or_default();
                (size, found)
            };
            let (size, found) = file::open(path).map(read).unwrap_or_default();
            match self.version {
                Version::Binary => size > 0 && size.is_multiple_of(3074),
                // Protocols 2 and up, 0, and 1.
                Version::Python => {
                    found == 2 && (head[0] == 0x80 || [*b"(d", *b"}q"].contains(&head))
                }
            }
        };
        is_named || any.is_some_and(begins)
    }

    /// A sentence on the training batches that are not there, if it is known how many there are.
    pub(super) fn missing(&self, layout: Layout) -> Option<String> {
        if layout != Layout::Cifar10 {
            return None;
        }
        let last = self
            .train
            .last()
            .map_or(BATCHES, |(number, _)| (*number).max(BATCHES));
        // Numbers of a few digits; more are no count of files.
        let numbers = 1..=last.min(1000);
        let is_there = |number: &u32| self.train.iter().any(|(found, _)| found == number);
        let missing: Vec<u32> = numbers.filter(|number| !is_there(number)).collect();
        let ending = self.version.endings()[0];
        let name = |number: &u32| format!("data_batch_{number}{ending}");
        let shown: Vec<String> = missing.iter().take(MOST_SHOWN).map(name).collect();
        let more = match missing.len().saturating_sub(MOST_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let verb = if missing.len() == 1 { "is" } else { "are" };
        let there = self.train.len();
        (!missing.is_empty()).then(|| {
            format!(
                "{there} of {} training batches; {}{more} {verb} not there",
                there + missing.len(),
                shown.join(", ")
            )
        })
    }
}

/// Names in a sentence, at most.
const MOST_SHOWN: usize = 5;

/// Finds the files: in the folder given, its usual folders or else the folders below, the binary version first. The second is
/// the same set in its other version beside it.
///
/// # Errors
/// [`DataError::MissingDataDir`], [`DataError::NotFound`], [`FileError::Archive`], [`DataError::SeveralSets`].
///
/// [`FileError::Archive`]: crate::FileError::Archive
pub(super) fn find(
    layout: Layout,
    place: &Place,
    options: &OpenOptions,
) -> Result<(Files, Option<Files>), DataError> {
    let given = place.folder(options)?;
    let listings = search::listings(given);
    let mut all = Vec::new();
    for listing in &listings {
        let mut usual = place.folders.iter();
        let at = match usual.position(|usual| listing.is_called(usual, given)) {
            _ if listing.level == 0 => 0,
            Some(position) => 1 + position,
            None => usize::MAX,
        };
        let files = Version::ALL.map(|version| Files::of(layout, version, listing));
        all.extend(files.map(|files| ((files.version, at), files)));
    }
    let complete = all.iter().filter(|(_, files)| files.is_complete());
    let best = complete.clone().map(|(rank, _)| *rank).min();
    let found: Vec<&Files> = complete
        .clone()
        .filter(|(rank, _)| Some(*rank) == best)
        .map(|(_, files)| files)
        .collect();
    match &found[..] {
        [] => {
            let mut partial = all.iter().filter(|(_, files)| {
                (!files.train.is_empty() || files.test.is_some()) && files.is_of_cifar()
            });
            Err(match partial.next() {
                Some((_, partial)) => place.not_found(given, what_is_missing(layout, partial)),
                None => place.nothing_there(given),
            })
        }
        [only] => {
            let mut others = complete.filter(|(_, files)| files.version != only.version);
            let other = others.next().map(|(_, files)| files.clone());
            Ok(((*only).clone(), other))
        }
        several => {
            let below = |files: &&Files| {
                shown::path(files.folder.strip_prefix(given).unwrap_or(&files.folder))
            };
            let shown: Vec<String> = several.iter().map(below).collect();
            Err(DataError::SeveralSets {
                dataset: place.dataset,
                dir: given.to_path_buf(),
                found: shown.join(", "),
                example: several[0].folder.clone(),
            })
        }
    }
}

fn what_is_missing(layout: Layout, partial: &Files) -> String {
    let ending = partial.version.endings()[0];
    let missing = match (layout, partial.test.is_some()) {
        (Layout::Cifar10, false) => "test_batch",
        (Layout::Cifar10, true) => "data_batch_1",
        (Layout::Cifar100, false) => "test",
        (Layout::Cifar100, true) => "train",
    };
    format!(
        "{} is there, and {missing}{ending} is not",
        shown::path(
            partial
                .train
                .first()
                .map(|(_, path)| path)
                .or(partial.test.as_ref())
                .unwrap_or(&partial.folder)
        )
    )
}

/// Whether a folder, or one below it, holds files of this layout: at least some.
pub(crate) fn is_there(layout: Layout, folder: &Path) -> bool {
    let listings = search::listings(folder);
    let mut all = listings
        .iter()
        .flat_map(|listing| Version::ALL.map(|version| Files::of(layout, version, listing)));
    all.any(|files| {
        let has_any = match layout {
            Layout::Cifar10 => !files.train.is_empty() || files.test.is_some(),
            Layout::Cifar100 => files.is_complete(),
        };
        has_any && files.is_of_cifar()
    })
}
