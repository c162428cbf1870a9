//! Files that a command is asked to write, and that must not replace anything.

use std::path::{Component, Path, PathBuf};

use crate::atomic_file::write_atomic;
use crate::error::ReportError;
use crate::run_folder::RunFolder;

/// The path of a file that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile(PathBuf);

impl NewFile {
    /// Checks, before the work whose result the file shall hold, that nothing is at its path and that its folder is there.
    ///
    /// # Errors
    /// [`ReportError::Exists`], [`ReportError::NoFolder`].
    pub fn at(path: &Path) -> Result<Self, ReportError> {
        Self::at_or_within(path, None)
    }

    /// As [`at`](Self::at), where the file may be in `made`, a folder that is made later.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn at_or_within(path: &Path, made: Option<&Path>) -> Result<Self, ReportError> {
        if path.symlink_metadata().is_ok() {
            return Err(ReportError::Exists {
                path: path.to_owned(),
            });
        }
        check_folder_of(path, made)?;
        refuse_own_name(path, made)?;
        Ok(Self(path.to_owned()))
    }

    /// As [`at_or_within`](Self::at_or_within). Where a file of that name is there already, this is one beside it: `trace-2.json` for
    /// `trace.json`, with the first number from 2 on that is free.
    ///
    /// # Errors
    /// [`ReportError::NoFolder`].
    pub fn beside(path: &Path, made: Option<&Path>) -> Result<Self, ReportError> {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if !is_there(path) || path.is_dir() {
            return Self::at_or_within(path, made);
        }
        let stem = path.file_stem().unwrap_or_default();
        let numbered = (2_usize..).map(|number| {
            let mut name = stem.to_owned();
            name.push(format!("-{number}"));
            if let Some(extension) = path.extension() {
                name.push(".");
                name.push(extension);
            }
            path.with_file_name(name)
        });
        let mut free = numbered.skip_while(|path| is_there(path));
        Self::at_or_within(&free.next().unwrap_or_default(), made)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes the file as [`write_atomic`] does, unless something has come to be at its path since.
    ///
    /// # Errors
    /// [`ReportError::Exists`], and as [`write_atomic`].
    pub fn write(&self, bytes: &[u8]) -> Result<(), ReportError> {
        Self::at(&self.0)?;
        write_atomic(&self.0, bytes)
    }
}

/// Checks that a path can be made: that the folder it is in is there, or is `made` later.
pub(crate) fn check_folder_of(path: &Path, made: Option<&Path>) -> Result<(), ReportError> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder.unwrap_or(Path::new("")),
    };
    let is_made = made.is_some_and(|made| without_dots(made).eq(without_dots(folder)));
    let is_there = folder.is_dir() || is_made && folder.symlink_metadata().is_err();
    match is_there && path.file_name().is_some() {
        true => Ok(()),
        false => Err(ReportError::NoFolder {
            path: path.to_owned(),
        }),
    }
}

/// Refuses the name of what a run writes into its folder itself.
pub(crate) fn refuse_own_name(path: &Path, run: Option<&Path>) -> Result<(), ReportError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_within = run.is_some_and(|run| without_dots(run).eq(without_dots(parent)));
    match is_within && RunFolder::is_own_name(path) {
        true => Err(ReportError::OwnName {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// The parts of a path but for `.`.
fn without_dots(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let file = NewFile::at(&path).unwrap();
        file.write(b"one").unwrap();
        let message = |error: ReportError| {
            let dir = folder.path().display().to_string();
            error.to_string().replace(&dir, "DIR")
        };
        insta::assert_snapshot!(message(file.write(b"two").unwrap_err()), @"DIR/a.csv is there already; name another file, or remove it");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        let nowhere = folder.path().join("no/a.csv");
        insta::assert_snapshot!(message(NewFile::at(&nowhere).unwrap_err()), @"DIR/no/a.csv cannot be written: its folder is not there; create it, or name another file");
        assert!(NewFile::at(Path::new("")).is_err());
        assert!(NewFile::at(folder.path()).is_err());
    }

    #[test]
    fn a_file_beside_another_has_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let beside = || NewFile::beside(&path, None).unwrap();
        for expected in ["trace.json", "trace-2.json", "trace-3.json"] {
            let file = beside();
            assert_eq!(file.path(), folder.path().join(expected));
            file.write(b"x").unwrap();
        }
        assert!(NewFile::beside(folder.path(), None).is_err());
        let own = folder.path().join("metrics.jsonl");
        assert!(NewFile::beside(&own, Some(folder.path())).is_err());
        assert!(NewFile::at_or_within(&own, None).is_ok());
        let bare = folder.path().join("trace");
        std::fs::write(&bare, "").unwrap();
        let file = NewFile::beside(&bare, None).unwrap();
        assert_eq!(file.path(), folder.path().join("trace-2"));
    }

    #[test]
    fn a_file_may_be_in_the_folder_that_the_work_makes() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("run");
        let path = folder.path().join("./run/trace.json");
        assert!(NewFile::at(&path).is_err());
        assert!(NewFile::at_or_within(&path, Some(folder.path())).is_err());
        assert!(NewFile::at_or_within(&made.join("in/trace.json"), Some(&made)).is_err());
        let file = NewFile::at_or_within(&path, Some(&made)).unwrap();
        assert!(file.write(b"early").is_err());
        std::fs::create_dir(&made).unwrap();
        file.write(b"trace").unwrap();
        assert!(NewFile::at_or_within(&path, Some(&made)).is_err());
        std::fs::write(folder.path().join("plain"), "").unwrap();
        let plain = folder.path().join("plain");
        assert!(NewFile::at_or_within(&plain.join("a"), Some(&plain)).is_err());
    }
}
