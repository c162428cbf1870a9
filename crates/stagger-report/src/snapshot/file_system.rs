//! The calls to the disk that snapshots need.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::folder_sync;

/// A file system for snapshots: [`Disk`], or in tests one whose every call can fail.
///
/// # Errors
/// Every call fails when the system refuses.
pub trait FileSystem: Send {
    /// Creates a folder, with missing parents.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Creates a file, which must not exist.
    fn create_file(&mut self, path: &Path) -> io::Result<Box<dyn SnapshotFile>>;

    /// Flushes the names in a folder to disk.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Renames a folder to a name that is free, or a file, also over another one.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or a folder with its contents. Succeeds if it does not exist.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// The entries of a folder; none if it does not exist.
    fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// The content of a file of at most `limit_bytes`; a longer one is an error.
    fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>>;
}

/// A file that is being written.
pub trait SnapshotFile: Write {
    /// Flushes written data to disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl SnapshotFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// The disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create_file(&mut self, path: &Path) -> io::Result<Box<dyn SnapshotFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        folder_sync::sync_folder(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let removed = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found > limit_bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has {found} bytes and at most {limit_bytes} were expected"),
            ));
        }
        let mut bytes = Vec::new();
        file.take(limit_bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
