//! The calls to the disk that snapshots need.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stagger_data::foreign;

use crate::folder_sync;
use crate::weights_reader::check_memory;

/// A file system for snapshots: [`Disk`], or in tests one whose every call can fail.
///
/// # Errors
/// Every call fails when the system refuses.
pub trait FileSystem: Send {
    /// Creates a folder, with missing parents. A link in the place of the folder that it is in is an error.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Creates a file, which must not exist.
    fn create_file(&mut self, path: &Path) -> io::Result<Box<dyn SnapshotFile>>;

    /// Flushes the names in a folder to disk.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Renames a folder to a name that is free, or a file, also over another one.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or a folder with its contents. Succeeds if it does not exist.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Whether it is a folder itself, and not a file or a link.
    fn is_folder(&mut self, path: &Path) -> io::Result<bool>;

    /// The entries of a folder; none if it does not exist. A link in its place is an error.
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
        path.parent().map_or(Ok(()), foreign::refuse_folder_link)?;
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

    #[expect(
        clippy::disallowed_methods,
        reason = "it is a folder and not a link, and links in it are removed and not followed"
    )]
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

    fn is_folder(&mut self, path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(path)?.is_dir())
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        foreign::refuse_folder_link(path)?;
        match fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let file = foreign::open_inside(path, limit_bytes)?;
        check_memory(file.size_bytes())?;
        file.bytes()
    }
}
