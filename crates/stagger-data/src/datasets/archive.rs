//! Archives of data sets: told apart by their names, and never read.

use std::path::{Path, PathBuf};

use super::search;
use crate::error::DataError;
use crate::file_error::FileError;

/// How names of archives end, in lower case.
const TAR: &[&str] = &[
    ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz", ".tar.zst", ".tzst",
];
const ZIP: &[&str] = &[".zip"];
const SEVEN_ZIP: &[&str] = &[".7z"];
/// How many levels below the folder given archives are looked for.
const MOST_LEVELS: usize = 2;

/// What to say of the archive that `given` is, or that it holds, if there is one that may be of this data set.
pub(crate) fn refusal(dataset: &'static str, given: &Path) -> Option<DataError> {
    if given.is_file() {
        let archive = Archive::of(given)?;
        return Some(archive.refusal(dataset));
    }
    let listings = search::listings(given);
    let upper = listings
        .iter()
        .filter(|listing| listing.level <= MOST_LEVELS);
    let files =
        upper.flat_map(|listing| listing.files.iter().map(|file| listing.folder.join(file)));
    let mut archives = files
        .filter_map(|path| Archive::of(&path))
        .collect::<Vec<Archive>>();
    archives.retain(|archive| archive.may_be_of(dataset));
    // Known by its name first.
    archives.sort_by_key(|archive| archive.dataset.is_none());
    Some(archives.first()?.refusal(dataset))
}

struct Archive {
    path: PathBuf,
    /// Its name without the ending.
    stem: String,
    endings: &'static [&'static str],
    /// The data set, where the name tells it.
    dataset: Option<&'static str>,
}

/// What names of archives of known sets have in them.
const KNOWN: [(&str, &str); 8] = [
    ("cifar-100", "cifar100"),
    ("cifar100", "cifar100"),
    ("cifar-10", "cifar10"),
    ("cifar10", "cifar10"),
    ("fashion", IDX),
    ("kuzushiji", IDX),
    // And all its relatives.
    ("mnist", IDX),
    ("idx", IDX),
];
/// Stands for all sets in IDX files.
const IDX: &str = "mnist";

impl Archive {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let lower = name.to_ascii_lowercase();
        let kinds = [TAR, ZIP, SEVEN_ZIP].into_iter();
        let ends = kinds.filter_map(|endings| {
            let longest = endings
                .iter()
                .filter(|ending| lower.ends_with(*ending))
                .map(|ending| ending.len());
            Some((longest.max()?, endings))
        });
        let (length, endings) = ends.max_by_key(|(length, _)| *length)?;
        let known = KNOWN.iter().find(|(part, _)| lower.contains(part));
        Some(Self {
            path: path.to_path_buf(),
            stem: name[..name.len() - length].to_owned(),
            endings,
            dataset: known.map(|(_, dataset)| *dataset),
        })
    }

    fn may_be_of(&self, dataset: &str) -> bool {
        let is_idx = dataset.ends_with("mnist");
        match self.dataset {
            None => true,
            // No data set was named.
            Some(_) if dataset.starts_with('-') => true,
            Some(IDX) => is_idx,
            Some(known) => known == dataset,
        }
    }

    fn refusal(&self, dataset: &'static str) -> DataError {
        let above = self.path.parent().unwrap_or(Path::new(""));
        // These have a folder of their own in them, by which their files are found again.
        let has_folder = self
            .dataset
            .is_some_and(|dataset| dataset.starts_with("cifar"));
        let then = match has_folder && self.endings == TAR {
            true => above.to_path_buf(),
            false => above.join(match &self.stem[..] {
                "" => "unpacked",
                stem => stem,
            }),
        };
        let (archive, folder) = (quoted(&self.path), quoted(&then));
        let command = match self.endings {
            ZIP => format!("unzip -q {archive} -d {folder}"),
            SEVEN_ZIP => format!("7z x {archive} -o{folder}"),
            _ if then == above => format!("tar xf {archive} -C {folder}"),
            _ => format!("mkdir -p {folder} && tar xf {archive} -C {folder}"),
        };
        FileError::Archive {
            dataset,
            path: self.path.clone(),
            command,
            then,
        }
        .into()
    }
}

/// A path as a shell takes it; with what would move the cursor escaped, as then it is no longer what a shell takes anyway.
fn quoted(path: &Path) -> String {
    let shown = crate::shown::path(path);
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match !shown.is_empty() && !shown.starts_with('-') && shown.chars().all(is_plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn archives_are_told_with_the_command_that_unpacks_them() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().display().to_string();
        let say = |dataset, given: &str| {
            let refusal = refusal(dataset, &folder.path().join(given));
            refusal
                .map(|error| error.to_string().replace(&top, "TOP"))
                .unwrap_or_default()
        };
        for file in [
            "a/cifar-10-binary.tar.gz",
            "b/my pictures.ZIP",
            "c/x/gzip.zip",
            "d/cifar-100-python.tar.gz",
            "e/train-images-idx3-ubyte.gz",
            "f/Bilder.tar.xz",
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        insta::assert_snapshot!(say("cifar10", "a"), @"cifar10: TOP/a/cifar-10-binary.tar.gz is an archive, which is not read as it is; unpack it with `tar xf TOP/a/cifar-10-binary.tar.gz -C TOP/a` and use --data-dir TOP/a");
        assert_eq!(
            say("cifar10", "a/cifar-10-binary.tar.gz"),
            say("cifar10", "a")
        );
        insta::assert_snapshot!(say("image-folder", "b"), @r"image-folder: TOP/b/my pictures.ZIP is an archive, which is not read as it is; unpack it with `unzip -q 'TOP/b/my pictures.ZIP' -d 'TOP/b/my pictures'` and use --data-dir TOP/b/my pictures");
        insta::assert_snapshot!(say("emnist", "c"), @"emnist: TOP/c/x/gzip.zip is an archive, which is not read as it is; unpack it with `unzip -q TOP/c/x/gzip.zip -d TOP/c/x/gzip` and use --data-dir TOP/c/x/gzip");
        insta::assert_snapshot!(say("image-folder", "f"), @"image-folder: TOP/f/Bilder.tar.xz is an archive, which is not read as it is; unpack it with `mkdir -p TOP/f/Bilder && tar xf TOP/f/Bilder.tar.xz -C TOP/f/Bilder` and use --data-dir TOP/f/Bilder");
        // Of another set, or none.
        assert_eq!(
            (say("cifar10", "d"), say("mnist", "e"), say("mnist", "a")),
            Default::default()
        );
        assert_eq!(say("image-folder", "a"), "");
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-c.zip")), "/a/b-c.zip");
        assert_eq!(quoted(Path::new("it's $HOME")), r"'it'\''s $HOME'");
        assert_eq!(quoted(Path::new("-rf")), "'-rf'");
    }
}
