//! Which of the sets of IDX files in a folder is meant.

use std::path::{Path, PathBuf};

use super::family::Family;
use super::files::{self, Set};
use crate::datasets::idx;
use crate::datasets::search::{self, Listing};
use crate::error::DataError;
use crate::place::{NO_FOLDER, OpenOptions, Place};
use crate::shown;

/// The set that is read.
pub(super) struct Chosen {
    pub(super) set: Set,
    /// Images and labels to train on, then to test on.
    pub(super) files: [PathBuf; 4],
    /// Its folder as seen from the one given, where it is another one that has no well-known name.
    pub(super) at: Option<String>,
}

/// A complete set, and how it suits what is asked for: the least is the best.
struct Candidate<'a> {
    set: &'a Set,
    files: [&'a Path; 4],
    listing: &'a Listing,
    /// Whether it is another relative than the one asked for; then where it is.
    rank: (bool, usize),
}

/// Below the folder given, where no folder has a name that tells what is in it.
const ELSEWHERE: usize = usize::MAX;

/// Finds the set of the family: in the folder given, its usual folders or else anywhere below. Several sets of one folder are told
/// apart by what stands before `train` in the names of their files, which a path may end with: `DIR/emnist-letters`.
///
/// # Errors
/// [`DataError::MissingDataDir`], [`DataError::NotFound`], [`DataError::SeveralSets`].
pub(super) fn choose(
    family: Family,
    place: &Place,
    options: &OpenOptions,
) -> Result<Chosen, DataError> {
    let given = place.folder(options)?;
    let (folder, wanted) = folder_and_prefix(given);
    let listings = search::listings(folder);
    let all: Vec<(&Listing, Vec<Set>)> = listings
        .iter()
        .map(|listing| (listing, files::sets(listing)))
        .collect();
    let all = || {
        all.iter()
            .flat_map(|(listing, sets)| sets.iter().map(move |set| (*listing, set)))
    };
    let (mut candidates, mut others) = (Vec::new(), Vec::new());
    for (listing, set) in all() {
        let Some(files) = set.complete() else {
            continue;
        };
        if wanted
            .as_ref()
            .is_some_and(|wanted| !is_called(set, wanted))
        {
            continue;
        }
        match rank(family, place, folder, listing, set) {
            Ok(rank) => candidates.push(Candidate {
                set,
                files,
                listing,
                rank,
            }),
            Err(other) => others.push(other),
        }
    }
    let best = candidates.iter().map(|candidate| candidate.rank).min();
    candidates.retain(|candidate| Some(candidate.rank) == best);
    match &candidates[..] {
        [] => {
            let reason = match (others.first(), &wanted) {
                (Some(other), _) => format!("it looks like --dataset {}", other.name()),
                (None, Some(wanted)) => no_such_prefix(folder, wanted, all().map(|(_, set)| set)),
                (None, None) => match all().map(|(_, set)| set).next() {
                    Some(partial) => what_is_missing(partial),
                    None => return Err(place.nothing_there(given)),
                },
            };
            Err(place.not_found(given, reason))
        }
        [only] => {
            let below = only.listing.below(folder);
            let at = (only.rank.1 == ELSEWHERE).then(|| shown::path(below));
            Ok(Chosen {
                set: only.set.clone(),
                files: only.files.map(Path::to_path_buf),
                at,
            })
        }
        several => {
            let path = |candidate: &Candidate<'_>| {
                let below = candidate.listing.below(folder);
                below.join(&candidate.set.prefix)
            };
            let shown: Vec<String> = several.iter().map(|one| shown::path(&path(one))).collect();
            Err(DataError::SeveralSets {
                dataset: place.dataset,
                dir: folder.to_path_buf(),
                found: shown.join(", "),
                example: folder.join(path(&several[0])),
            })
        }
    }
}

/// The folder to look in; and a prefix, where the path given does not exist but the folder above it does.
fn folder_and_prefix(given: &Path) -> (&Path, Option<String>) {
    let name = given.file_name().and_then(|name| name.to_str());
    match (given.parent(), name) {
        (Some(above), Some(name)) if !given.exists() && above.is_dir() => {
            (above, Some(files::normal(name)))
        }
        _ => (given, None),
    }
}

/// `emnist-letters` is also `letters`.
fn is_called(set: &Set, wanted: &str) -> bool {
    let end = set.prefix.strip_suffix(wanted);
    end.is_some_and(|before| before.is_empty() || before.ends_with('-')) && !wanted.is_empty()
}

/// How well a set suits, or else which other relative of MNIST it is.
fn rank(
    family: Family,
    place: &Place,
    folder: &Path,
    listing: &Listing,
    set: &Set,
) -> Result<(bool, usize), Family> {
    let mut usual = place.folders.iter();
    let at = match usual.position(|usual| listing.is_called(usual, folder)) {
        _ if listing.level == 0 => 0,
        Some(position) => 1 + position,
        None => ELSEWHERE,
    };
    let of_prefix = Family::of(&set.prefix);
    match of_prefix {
        Some(of_prefix) if of_prefix == family => Ok((false, at)),
        // The name stands for all of them, as their files are called alike.
        Some(of_prefix) if family == Family::Mnist && of_prefix != Family::Fashion => {
            Ok((true, at))
        }
        Some(of_prefix) => Err(of_prefix),
        None if !set.prefix.is_empty() => Ok((true, at)),
        None if at != ELSEWHERE => Ok((false, at)),
        None => match Family::of(&listing.below(folder).to_string_lossy()) {
            Some(other) if other != family => Err(other),
            _ => Ok((false, at)),
        },
    }
}

fn no_such_prefix<'a>(folder: &Path, wanted: &str, sets: impl Iterator<Item = &'a Set>) -> String {
    let prefixes: Vec<String> = sets
        .filter(|set| !set.prefix.is_empty() && set.complete().is_some())
        .map(|set| set.prefix.clone())
        .collect();
    match &prefixes[..] {
        [] => NO_FOLDER.to_owned(),
        _ => format!(
            "{NO_FOLDER}, and of {wanted} no files in {}, which holds {}",
            shown::path(folder),
            prefixes.join(", ")
        ),
    }
}

fn what_is_missing(set: &Set) -> String {
    let of = match &set.prefix[..] {
        "" => String::new(),
        prefix => format!(" of {prefix}"),
    };
    format!(
        "in {} the {}{of} are missing",
        shown::path(&set.folder),
        set.missing()
    )
}

/// What IDX files a folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recognised {
    /// Names of the data sets, as far as files, folders and labels tell.
    pub(crate) names: Vec<&'static str>,
    /// Whether nothing tells which relative of MNIST it is.
    pub(crate) is_guess: bool,
}

/// Looks at the names of files and folders, and at labels where these do not tell. A set that is not complete counts where there
/// is no other.
pub(crate) fn recognise(folder: &Path) -> Recognised {
    let (folder, wanted) = folder_and_prefix(folder);
    let listings = search::listings(folder);
    let sets: Vec<Set> = listings.iter().flat_map(files::sets).collect();
    let has_complete = sets.iter().any(|set| set.complete().is_some());
    let mut found = Recognised::default();
    for set in sets {
        let files = set.complete();
        let is_wanted = wanted.as_ref().is_none_or(|wanted| is_called(&set, wanted));
        if files.is_some() != has_complete || !is_wanted {
            continue;
        }
        // The nearest name counts: `FashionMNIST` in `MNIST/FashionMNIST/raw`.
        let mut of_path = set.folder.iter().rev().filter_map(|name| name.to_str());
        let family = Family::of(&set.prefix)
            .or_else(|| files.and_then(|[_, labels, ..]| family_of_labels(labels)))
            .or_else(|| of_path.find_map(Family::of));
        found.is_guess |= family.is_none();
        found.names.push(family.unwrap_or(Family::Mnist).name());
    }
    found.names.sort_unstable();
    found.names.dedup();
    found
}

/// The first labels of the training images, as they were published.
const FIRST_LABELS: [(Family, [u16; 10]); 2] = [
    (Family::Mnist, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
    (Family::Fashion, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
];

fn family_of_labels(path: &Path) -> Option<Family> {
    let (file, size_bytes) = idx::open(path).ok()?;
    let labels = idx::read_labels(file, size_bytes, path).ok()?;
    let of = |(family, first): &(Family, [u16; 10])| labels.starts_with(first).then_some(*family);
    FIRST_LABELS.iter().find_map(of)
}
