//! Sets of IDX files by their names: `train-images-idx3-ubyte` and its many spellings.

use std::path::{Path, PathBuf};

use crate::datasets::search::Listing;

/// What stands between the parts of a name.
const SEPARATORS: [char; 4] = ['-', '.', '_', ' '];

/// What a file of a set is for, in the order of [`Set::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

impl Role {
    const ALL: [Self; 4] = [
        Self::TrainImages,
        Self::TrainLabels,
        Self::TestImages,
        Self::TestLabels,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::TrainImages => "training images",
            Self::TrainLabels => "training labels",
            Self::TestImages => "test images",
            Self::TestLabels => "test labels",
        }
    }
}

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// What stands before, such as `emnist-balanced`; in lower case, with `-` between its parts.
    prefix: String,
    role: Role,
    /// Of several spellings of one name, the least is taken: `-` before `.`, plain before compressed.
    rank: usize,
}

/// Images and labels to train on and to test on, of one name in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// `emnist-balanced` of `emnist-balanced-train-images-idx3-ubyte`; empty where there is nothing before `train`.
    pub(super) prefix: String,
    pub(super) folder: PathBuf,
    /// Files with their rank.
    files: [Option<(usize, PathBuf)>; 4],
}

impl Set {
    /// Images and labels to train on, then to test on, if all four are there.
    pub(super) fn complete(&self) -> Option<[&Path; 4]> {
        let [Some((_, a)), Some((_, b)), Some((_, c)), Some((_, d))] = &self.files else {
            return None;
        };
        Some([a, b, c, d])
    }

    /// What is not there, in words.
    pub(super) fn missing(&self) -> String {
        let roles = Role::ALL.into_iter().zip(&self.files);
        let missing: Vec<&str> = roles
            .filter(|(_, file)| file.is_none())
            .map(|(role, _)| role.words())
            .collect();
        missing.join(" and ")
    }
}

/// The sets of a folder, complete or not, in the order of their names. A folder that is called like a file, and holds it, is
/// taken for it: some archives unpack to such.
pub(super) fn sets(listing: &Listing) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    let mut add = |name: Name, path: PathBuf| {
        let at = sets.iter().position(|set| set.prefix == name.prefix);
        let at = at.unwrap_or_else(|| {
            sets.push(Set {
                prefix: name.prefix,
                folder: listing.folder.clone(),
                files: [const { None }; 4],
            });
            sets.len() - 1
        });
        let place = &mut sets[at].files[name.role as usize];
        if place.as_ref().is_none_or(|(rank, _)| *rank > name.rank) {
            *place = Some((name.rank, path));
        }
    };
    for file in &listing.files {
        if let Some(name) = parse(file) {
            add(name, listing.folder.join(file));
        }
    }
    for folder in &listing.folders {
        let path = listing.folder.join(folder).join(folder);
        if let Some(mut name) = parse(folder).filter(|_| path.is_file()) {
            name.rank += 100;
            add(name, path);
        }
    }
    sets.sort_by(|one, other| one.prefix.cmp(&other.prefix));
    sets
}

fn parse(file: &str) -> Option<Name> {
    let name = file.to_ascii_lowercase();
    let (name, compressed) = match name.strip_suffix(".gz") {
        Some(name) => (name, 1),
        None => (&name[..], 0),
    };
    let (name, _) = last_part(name, &["ubyte", "ubyte1", "int"]).unwrap_or((name, 0));
    let (name, before_idx) = last_part(name, &["idx3", "idx1", "idx2", "idx"])?;
    let (name, kind) = ["images", "labels"]
        .iter()
        .find_map(|kind| Some((name.strip_suffix(kind)?, *kind)))?;
    let name = name.strip_suffix(SEPARATORS)?;
    let (prefix, split) = ["train", "t10k", "test"]
        .iter()
        .find_map(|split| Some((name.strip_suffix(split)?, *split)))?;
    let prefix = match prefix {
        "" => "",
        _ => prefix.strip_suffix(SEPARATORS)?,
    };
    let role = match (split, kind) {
        ("train", "images") => Role::TrainImages,
        ("train", _) => Role::TrainLabels,
        (_, "images") => Role::TestImages,
        _ => Role::TestLabels,
    };
    Some(Name {
        prefix: normal(prefix),
        role,
        rank: 10 * usize::from(split == "test") + 2 * before_idx + compressed,
    })
}

/// A prefix, or what a user takes for one, in the spelling of [`Set::prefix`].
pub(super) fn normal(prefix: &str) -> String {
    prefix.to_ascii_lowercase().replace(SEPARATORS, "-")
}

/// What stands before one of these at the end of a name, and which separator is between.
fn last_part<'a>(name: &'a str, parts: &[&str]) -> Option<(&'a str, usize)> {
    let name = parts.iter().find_map(|part| name.strip_suffix(part))?;
    let separator = SEPARATORS
        .iter()
        .position(|separator| name.ends_with(*separator))?;
    Some((&name[..name.len() - 1], separator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_in_circulation_are_known() {
        let ordinary = |name: &str| {
            let found = parse(name).unwrap_or_else(|| panic!("{name}"));
            (found.prefix, found.role)
        };
        for name in [
            "train-images-idx3-ubyte",
            "train-images-idx3-ubyte.gz",
            "train-images.idx3-ubyte",
            "TRAIN-IMAGES.IDX3-UBYTE",
            "train-images.idx3-ubyte.GZ",
            "train_images_idx3_ubyte",
            "train-images.idx",
            "train-images.idx3",
        ] {
            assert_eq!(ordinary(name), (String::new(), Role::TrainImages), "{name}");
        }
        for (name, prefix, role) in [
            ("t10k-labels-idx1-ubyte", "", Role::TestLabels),
            ("test-images-idx3-ubyte", "", Role::TestImages),
            (
                "emnist-balanced-train-labels-idx1-ubyte.gz",
                "emnist-balanced",
                Role::TrainLabels,
            ),
            (
                "EMNIST_Letters_test_images_idx3_ubyte",
                "emnist-letters",
                Role::TestImages,
            ),
            (
                "qmnist-train-labels-idx2-int.gz",
                "qmnist",
                Role::TrainLabels,
            ),
        ] {
            assert_eq!(ordinary(name), (prefix.to_owned(), role), "{name}");
        }
        for name in [
            "images-idx3-ubyte",
            "xtrain-images-idx3-ubyte",
            "train-images",
            "train.idx3-ubyte",
            "xnist-images-idx3-ubyte.xz",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn plain_files_come_before_compressed_ones() {
        let rank = |name: &str| parse(name).unwrap().rank;
        let ranks = [
            "t10k-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-images.idx3-ubyte",
            "t10k-images.idx3-ubyte.gz",
            "test-images-idx3-ubyte",
        ]
        .map(rank);
        assert!(ranks.is_sorted() && ranks[3] < ranks[4], "{ranks:?}");
    }
}
