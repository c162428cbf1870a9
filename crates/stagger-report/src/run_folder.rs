//! The folder that holds everything a run leaves behind.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::atomic_file::{partial_path, write_atomic};
use crate::error::ReportError;
use crate::timestamp::utc_in_a_file_name;

/// Folder of runs whose output path was not chosen.
pub const DEFAULT_BASE: &str = "runs";

/// Name of the merged configuration inside a run folder.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the log for people.
pub const LOG_FILE: &str = "run.log";
/// Name of the metrics: one JSON record per line, see [`crate::Record`].
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Name of the weights after the last epoch.
pub const LAST_WEIGHTS_FILE: &str = "last.safetensors";
/// Name of the weights with the highest test accuracy.
pub const BEST_WEIGHTS_FILE: &str = "best.safetensors";
/// Name of the facts about host and program, see [`crate::Environment`].
pub const ENVIRONMENT_FILE: &str = "environment.json";

const ALL_FILES: [&str; 6] = [
    CONFIG_FILE,
    LOG_FILE,
    METRICS_FILE,
    LAST_WEIGHTS_FILE,
    BEST_WEIGHTS_FILE,
    ENVIRONMENT_FILE,
];
/// What every run leaves that came to an end; `best` needs an evaluation.
const OF_A_FINISHED_RUN: [&str; 3] = [CONFIG_FILE, METRICS_FILE, LAST_WEIGHTS_FILE];

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folders that [`RunFolder::create`] made, outermost first.
    made: Vec<PathBuf>,
    /// Held as long as the run may write; the system lets go of it with the process.
    _lock: Option<File>,
}

impl RunFolder {
    /// Makes the folder, and its parents where they are missing. A folder that exists is taken only
    /// when it is empty.
    ///
    /// # Errors
    /// [`ReportError::Occupied`] when something is there already, [`ReportError::InUse`] when another process has just
    /// begun there, [`ReportError::Io`] when the folder cannot be made or cannot be written to. What was made until then
    /// is removed again, unless somebody else has it.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        match fs::symlink_metadata(path) {
            Ok(_) => refuse_occupied(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(ReportError::io("create the folder", path, source)),
        }
        let mut folder = Self {
            path: path.to_owned(),
            made: Vec::new(),
            _lock: None,
        };
        let unusable = |source| ReportError::io("create the folder", path, source);
        folder.make().map_err(|source| match source.kind() {
            // Another run was faster.
            ErrorKind::AlreadyExists => occupied(path, "a folder already"),
            _ => unusable(source),
        })?;
        // Nothing is written before the folder is ours, and still as empty as it was.
        folder._lock = lock(path).inspect_err(|error| {
            if matches!(error, ReportError::Io { .. }) {
                folder.remove_made();
            }
        })?;
        refuse_occupied(path)?;
        folder.try_writing().map_err(unusable)?;
        Ok(folder)
    }

    /// Opens the folder of a run to go on with it.
    ///
    /// # Errors
    /// [`ReportError::Io`] when there is no such folder, [`ReportError::InUse`] while another process trains in it.
    pub fn reopen(path: &Path) -> Result<Self, ReportError> {
        fs::read_dir(path)
            .map_err(|source| ReportError::io("open the run folder", path, source))?;
        Ok(Self {
            path: path.to_owned(),
            made: Vec::new(),
            _lock: lock(path)?,
        })
    }

    /// Makes a folder of a name that nobody else has: [`default_path`], and when another run took
    /// it in the same second, the next free one.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn create_named(base: &Path, name: &str, now: SystemTime) -> Result<Self, ReportError> {
        let first = default_path(base, name, now);
        let mut path = first.clone();
        let mut number = 1;
        loop {
            match Self::create(&path) {
                Err(ReportError::Occupied { .. } | ReportError::InUse { .. }) => {
                    number += 1;
                    path.clone_from(&first);
                    path.as_mut_os_string().push(format!("-{number}"));
                }
                created_or_failed => return created_or_failed,
            }
        }
    }

    /// Opens the folder of a finished run for reading.
    ///
    /// # Errors
    /// [`ReportError::Io`] when there is no such folder, [`ReportError::Incomplete`] when one of
    /// the files is missing that every run leaves behind; it names all that are.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let folder = Self {
            path: path.to_owned(),
            made: Vec::new(),
            _lock: None,
        };
        fs::read_dir(path)
            .map_err(|source| ReportError::io("open the run folder", path, source))?;
        let gone: Vec<_> = OF_A_FINISHED_RUN
            .into_iter()
            .filter(|name| !folder.file(name).is_file())
            .collect();
        if let Some((last, others)) = gone.split_last() {
            let missing = match others {
                [] => format!("{last} is"),
                _ => format!("{} and {last} are", others.join(", ")),
            };
            return Err(ReportError::Incomplete {
                path: path.to_owned(),
                missing,
            });
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file inside, which need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside, whole or not at all; see [`write_atomic`].
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        write_atomic(&self.file(name), bytes)
    }

    /// Takes back [`RunFolder::create`], for runs that fail before they begin: removes the files of
    /// a run, then the folders that were made. What anyone else put there stays, and so do the
    /// folders around it.
    ///
    /// # Errors
    /// [`ReportError::Io`] when a file cannot be removed.
    pub fn discard(self) -> Result<(), ReportError> {
        let files = ALL_FILES.iter().map(|name| self.file(name));
        for file in files.flat_map(|file| [partial_path(&file), file]) {
            match fs::remove_file(&file) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(ReportError::io("remove", &file, error));
                }
                // Most of them were never written.
                _ => {}
            }
        }
        self.remove_made();
        Ok(())
    }

    /// From the inside out; a folder that holds something else is not ours to remove.
    fn remove_made(&self) {
        self.made
            .iter()
            .rev()
            .all(|folder| fs::remove_dir(folder).is_ok());
    }

    /// Makes the folder and its missing parents, all of them or none.
    fn make(&mut self) -> io::Result<()> {
        let missing: Vec<_> = self
            .path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .map(Path::to_owned)
            .collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().create(&folder) {
                Ok(()) => self.made.push(folder),
                // Another run made the same parent in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder != self.path => {}
                Err(error) => {
                    self.remove_made();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Finds out about a full or read-only disk now rather than after an epoch.
    fn try_writing(&self) -> io::Result<()> {
        let probe = partial_path(&self.file(CONFIG_FILE));
        let written = fs::write(&probe, [b'\n'; 4096]);
        let removed = fs::remove_file(&probe);
        written.and(removed).inspect_err(|_| self.remove_made())
    }
}

/// Where a run goes whose output path was not chosen: `BASE/2026-11-23T05-50-27-NAME`, with the
/// start in UTC. Characters of the name that are not letters, digits, `.`, `_` or `-` become `-`.
pub fn default_path(base: &Path, name: &str, now: SystemTime) -> PathBuf {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    base.join(format!("{}-{name}", utc_in_a_file_name(now)))
}

/// Keeps other processes from training in the same folder, where the system can lock folders.
fn lock(path: &Path) -> Result<Option<File>, ReportError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let unreadable = |source| ReportError::io("open the run folder", path, source);
    let folder = File::open(path).map_err(unreadable)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Err(ReportError::InUse {
            path: path.to_owned(),
        }),
        // Some network file systems have no locks.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Succeeds for an empty folder.
fn refuse_occupied(path: &Path) -> Result<(), ReportError> {
    if !path.is_dir() {
        return Err(occupied(path, "a file already"));
    }
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(occupied(path, "a folder that is not empty")),
        Err(source) => Err(ReportError::io("read the folder", path, source)),
    }
}

fn occupied(path: &Path, what: &'static str) -> ReportError {
    ReportError::Occupied {
        path: path.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests;
