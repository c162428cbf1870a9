//! Files that a command is asked to write, and that must not replace anything.

use std::path::{Path, PathBuf};

use crate::atomic_file::write_atomic;
use crate::error::ReportError;
use crate::new_place::{check_folder_of, is_same_place, refuse_own_name, try_file};

/// The path of a file that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile(PathBuf);

impl NewFile {
    /// Checks, before the work whose result the file shall hold, that nothing is at its path, that its folder is there and that a file
    /// can be made in it.
    ///
    /// # Errors
    /// [`ReportError::Exists`], [`ReportError::NoFolder`]; [`ReportError::FolderName`] for a path that ends as that of a folder;
    /// [`ReportError::OwnName`] for one that a run writes itself; [`ReportError::Io`].
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
        if path.components().as_path().as_os_str() != path.as_os_str() {
            return Err(ReportError::FolderName {
                path: path.to_owned(),
            });
        }
        check_folder_of(path, made)?;
        refuse_own_name(path, made)?;
        if made.is_some_and(|made| is_same_place(made, path)) {
            return Err(ReportError::OwnName {
                path: path.to_owned(),
            });
        }
        try_file(path)?;
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
        let as_folder = folder.path().join("b/");
        insta::assert_snapshot!(message(NewFile::at(&as_folder).unwrap_err()), @"DIR/b/ ends as the path of a folder does; name a file");
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
        // In the folder of a run that is there, whatever is said of it.
        std::fs::write(folder.path().join("config.toml"), "").unwrap();
        assert!(NewFile::at(&folder.path().join("average.safetensors")).is_ok());
        std::fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        for name in ["metrics.jsonl", "average.safetensors", "snapshots"] {
            assert!(NewFile::at(&folder.path().join(name)).is_err(), "{name}");
        }
        for name in ["config.toml", "metrics.jsonl"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
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
        assert!(NewFile::at_or_within(&made, Some(&made)).is_err());
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
