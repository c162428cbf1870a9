//! Looks for files in a folder and in the folders below it, within bounds.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// How many levels below the folder given are looked into: enough for `archive/EMNIST/raw`.
const MOST_LEVELS: usize = 3;
/// How many names are looked at, at most, in all folders together.
const MOST_NAMES: usize = 100_000;

/// What one folder holds: names that are text, without hidden ones, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) folder: PathBuf,
    /// How far it is below the folder given.
    pub(crate) level: usize,
    pub(crate) files: Vec<String>,
    pub(crate) folders: Vec<String>,
}

impl Listing {
    /// The file of this name, whatever its case; the same case first.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let exact = self.files.iter().find(|file| *file == name);
        let found = exact.or_else(|| {
            self.files
                .iter()
                .find(|file| file.eq_ignore_ascii_case(name))
        });
        found.map(|file| self.folder.join(file))
    }

    /// The path of this folder as seen from `from`.
    pub(crate) fn below<'a>(&'a self, from: &Path) -> &'a Path {
        self.folder.strip_prefix(from).unwrap_or(&self.folder)
    }

    /// Whether the end of its path below `from` is `folder`, whatever the case.
    pub(crate) fn is_called(&self, folder: &str, from: &Path) -> bool {
        let below = self.below(from).to_string_lossy().to_lowercase();
        Path::new(&below) == Path::new(&folder.to_lowercase())
    }
}

/// The folder and those below it, upper ones first; nothing of what cannot be read.
pub(crate) fn listings(folder: &Path) -> Vec<Listing> {
    let mut listings = Vec::new();
    let mut left = MOST_NAMES;
    let mut folders = VecDeque::from([(folder.to_path_buf(), 0)]);
    while let Some((folder, level)) = folders.pop_front() {
        let Some(listing) = list(folder, level, &mut left) else {
            continue;
        };
        if level < MOST_LEVELS {
            let inner = listing.folders.iter();
            folders.extend(inner.map(|name| (listing.folder.join(name), level + 1)));
        }
        listings.push(listing);
    }
    listings
}

/// What one folder holds; nothing where it cannot be read.
pub(crate) fn listing(folder: &Path) -> Option<Listing> {
    let mut left = MOST_NAMES;
    list(folder.to_path_buf(), 0, &mut left)
}

fn list(folder: PathBuf, level: usize, left: &mut usize) -> Option<Listing> {
    let entries = fs::read_dir(&folder).ok()?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.take(*left) {
        *left -= 1;
        let Ok(entry) = entry else { continue };
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let is_link = kind.is_symlink();
        let target = is_link.then(|| fs::metadata(entry.path()).ok()).flatten();
        let kind = target.map_or(kind, |target| target.file_type());
        if kind.is_dir() {
            folders.push(name);
        } else if kind.is_file() {
            files.push(name);
        }
    }
    files.sort();
    folders.sort();
    Some(Listing {
        folder,
        level,
        files,
        folders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_level_by_level() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("b/c/d/e")).unwrap();
        fs::create_dir_all(top.path().join("a/.hidden")).unwrap();
        fs::write(top.path().join("b/c/X.Bin"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("..", top.path().join("a/up")).unwrap();
        let found = listings(top.path());
        let below: Vec<String> = found
            .iter()
            .map(|listing| listing.below(top.path()).display().to_string())
            .filter(|below| !below.contains("up"))
            .collect();
        assert_eq!(below, ["", "a", "b", "b/c", "b/c/d"]);
        let inner = found
            .iter()
            .find(|listing| listing.is_called("B/C", top.path()));
        let file = inner.unwrap().file("x.bin");
        assert_eq!(file, Some(top.path().join("b/c/X.Bin")));
    }
}
