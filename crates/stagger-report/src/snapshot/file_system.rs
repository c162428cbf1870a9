//! The calls to the disk that a snapshot is written with.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A place for snapshots. The real one is [`Disk`]; tests have one whose every call can fail.
pub trait FileSystem: Send {
    /// Makes a folder, and its parents where they are missing.
    ///
    /// # Errors
    /// As all of these, when the system refuses.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// Also when it is.
    fn create_file(&mut self, path: &Path) -> io::Result<Box<dyn SnapshotFile>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// When the system refuses.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Gives a folder another name; nothing has that name.
    ///
    /// # Errors
    /// When the system refuses.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a folder with all that is in it; one that is not there is removed already.
    ///
    /// # Errors
    /// When the system refuses.
    fn remove_folder(&mut self, path: &Path) -> io::Result<()>;

    /// What is in a folder; nothing when it is not there.
    ///
    /// # Errors
    /// When the system refuses.
    fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// The content of a file, which must not be longer than `limit_bytes`.
    ///
    /// # Errors
    /// Also when it is longer.
    fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>>;
}

/// A file that is being written.
pub trait SnapshotFile: Write {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the system refuses.
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
        // Folders can be flushed on Unix only.
        if cfg!(unix) {
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
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
