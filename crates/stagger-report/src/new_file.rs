//! Files that a command is asked to write, and that must not replace anything.

use std::path::{Path, PathBuf};

use crate::atomic_file::write_atomic;
use crate::error::ReportError;

/// The path of a file that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile(PathBuf);

impl NewFile {
    /// Checks, before the work whose result the file shall hold, that nothing is at its path and that its folder is there.
    ///
    /// # Errors
    /// [`ReportError::Exists`], [`ReportError::NoFolder`].
    pub fn at(path: &Path) -> Result<Self, ReportError> {
        if path.symlink_metadata().is_ok() {
            return Err(ReportError::Exists {
                path: path.to_owned(),
            });
        }
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            folder => folder.unwrap_or(Path::new("")),
        };
        if !folder.is_dir() || path.file_name().is_none() {
            return Err(ReportError::NoFolder {
                path: path.to_owned(),
            });
        }
        Ok(Self(path.to_owned()))
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
    }
}
