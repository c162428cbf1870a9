//! The folder of a run's results.

mod contents;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stagger_data::foreign;

use crate::atomic_file::{partial_path, write_atomic};
use crate::error::ReportError;
use crate::folder_sync::folders_cannot_be_flushed;
use crate::metrics_reader;
use crate::snapshot::SNAPSHOTS_FOLDER;
use crate::timestamp::utc_in_a_file_name;

/// Parent folder of runs without an output path of their own.
pub const DEFAULT_BASE: &str = "runs";

/// Name of the merged configuration inside a run folder.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the facts about the data: classes, shape and normalisation of images.
pub const DATA_FILE: &str = "data.json";
/// Name of the log for people.
pub const LOG_FILE: &str = "run.log";
/// Name of the metrics: one JSON record per line, see [`crate::Record`].
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Name of the weights after the last epoch.
pub const LAST_WEIGHTS_FILE: &str = "last.safetensors";
/// Name of the weights with the highest test accuracy.
pub const BEST_WEIGHTS_FILE: &str = "best.safetensors";
/// Name of the running mean of the weights, where it is kept.
pub const AVERAGE_WEIGHTS_FILE: &str = "average.safetensors";
/// Name of the accuracies on images that chose nothing, as JSON.
pub const TEST_FILE: &str = "test.json";
/// Name of the last rollback of a run that goes back to snapshots.
pub const ROLLBACK_FILE: &str = "rollback.json";
/// Name of the facts about host and program, see [`crate::Environment`].
pub const ENVIRONMENT_FILE: &str = "environment.json";

const ALL_FILES: [&str; 10] = [
    CONFIG_FILE,
    DATA_FILE,
    LOG_FILE,
    METRICS_FILE,
    LAST_WEIGHTS_FILE,
    BEST_WEIGHTS_FILE,
    AVERAGE_WEIGHTS_FILE,
    TEST_FILE,
    ROLLBACK_FILE,
    ENVIRONMENT_FILE,
];
/// Files that every finished run has. The best weights need an evaluation.
const OF_A_FINISHED_RUN: [&str; 3] = [CONFIG_FILE, METRICS_FILE, LAST_WEIGHTS_FILE];

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Folders that [`RunFolder::create`] created, outermost first.
    made: Vec<PathBuf>,
    /// Held while the run may write. The system releases it when the process ends.
    lock: Option<File>,
}

impl RunFolder {
    /// Creates the folder, with missing parents. An existing folder must be empty.
    ///
    /// # Errors
    /// [`ReportError::Occupied`] when the path is taken, [`ReportError::InUse`] when another process has just started there,
    /// [`ReportError::Io`] when the folder cannot be created or written to. Folders that were created are removed again,
    /// unless another process uses them.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        match fs::symlink_metadata(path) {
            Ok(_) => refuse_occupied(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(ReportError::io("create the folder", path, source)),
        }
        let mut folder = Self {
            path: path.to_owned(),
            made: Vec::new(),
            lock: None,
        };
        let unusable = |source| ReportError::io("create the folder", path, source);
        folder.make().map_err(|source| match source.kind() {
            // Another process created it in the meantime.
            ErrorKind::AlreadyExists => occupied(path, "a folder already"),
            _ => unusable(source),
        })?;
        // Before anything is written, the folder must be locked and still empty.
        folder.lock = lock(path).inspect_err(|error| {
            if matches!(error, ReportError::Io { .. }) {
                folder.remove_made();
            }
        })?;
        refuse_occupied(path)?;
        folder.try_writing().map_err(unusable)?;
        Ok(folder)
    }

    /// Opens the folder of a run to resume it.
    ///
    /// # Errors
    /// [`ReportError::Io`] when there is no such folder, when one of its files, or the folder of its snapshots, is a link that leads
    /// out of it, and when its metrics or its log is no regular file; [`ReportError::InUse`] while another process trains in it.
    pub fn reopen(path: &Path) -> Result<Self, ReportError> {
        fs::read_dir(path)
            .map_err(|source| ReportError::io("open the run folder", path, source))?;
        let folder = Self {
            path: path.to_owned(),
            made: Vec::new(),
            lock: lock(path)?,
        };
        folder.refuse_foreign()?;
        Ok(folder)
    }

    /// Refuses links that lead out of the folder in the place of what a run writes, and what is no file in the place of those to which a
    /// run appends; before anything is written.
    fn refuse_foreign(&self) -> Result<(), ReportError> {
        let files = ALL_FILES.iter().map(|name| self.file(name));
        let files = files.map(|file| (foreign::refuse_leading_out(&file), file));
        let snapshots = self.file(SNAPSHOTS_FOLDER);
        let snapshots = (foreign::refuse_folder_link(&snapshots), snapshots);
        for (refused, path) in files.chain([snapshots]) {
            refused.map_err(|source| ReportError::io("write", &path, source))?;
        }
        for file in ALL_FILES.iter().map(|name| self.file(name)) {
            if file.is_dir() {
                // In the words of the system.
                foreign::open_inside(&file, u64::MAX)
                    .map_err(|source| ReportError::io("write", &file, source))?;
            }
        }
        let metrics = self.file(METRICS_FILE);
        if foreign::is_there(&metrics) {
            metrics_reader::check(&metrics)?;
        }
        let log = self.file(LOG_FILE);
        if foreign::is_there(&log) {
            foreign::append(&log).map_err(|source| ReportError::io("open", &log, source))?;
        }
        Ok(())
    }

    /// Creates a folder with a name of its own: [`default_path`], or if another run of the same second has it, the same
    /// with the next free number.
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
    /// [`ReportError::Io`] when there is no such folder, [`ReportError::Incomplete`] with the names of all missing files
    /// when it lacks some that every finished run has.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let folder = Self {
            path: path.to_owned(),
            made: Vec::new(),
            lock: None,
        };
        fs::read_dir(path)
            .map_err(|source| ReportError::io("open the run folder", path, source))?;
        let mut gone = Vec::new();
        for name in OF_A_FINISHED_RUN {
            let file = folder.file(name);
            if !foreign::is_there(&file) {
                gone.push(name);
            } else if !file.is_file() {
                // What it is instead, in a sentence.
                foreign::open_inside(&file, u64::MAX)
                    .map_err(|source| ReportError::io("read", &file, source))?;
            }
        }
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

    /// What its file system cannot do of what a run that writes asks of it: a sentence for each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if cfg!(unix) && self.lock.is_none() {
            warnings.push(
                "its file system has no locks: do not start another run in this folder before this one has ended"
                    .to_owned(),
            );
        }
        if folders_cannot_be_flushed() {
            warnings.push(
                "its file system cannot flush folders to disk: a power cut may cost the last snapshot, and then the one before \
                 it serves"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Removes what a process has left that was killed while it wrote one of the run's files.
    ///
    /// # Errors
    /// [`ReportError::Io`] when one cannot be removed.
    pub fn remove_partial_files(&self) -> Result<(), ReportError> {
        for name in ALL_FILES {
            let partial = partial_path(&self.file(name));
            match fs::remove_file(&partial) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(ReportError::io("remove", &partial, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a file has the name under which a run writes one of its files until it is complete.
    pub fn is_partial_file(path: &Path) -> bool {
        let mut partial = ALL_FILES.iter().map(|name| partial_path(Path::new(name)));
        partial.any(|partial| path.file_name() == partial.file_name())
    }

    /// Whether a path ends with the name of something that a run writes into its folder itself.
    pub(crate) fn is_own_name(path: &Path) -> bool {
        let mut names = ALL_FILES.iter().chain([&SNAPSHOTS_FOLDER]);
        names.any(|name| path.file_name().is_some_and(|found| found == *name))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file inside, which need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside with [`write_atomic`].
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        write_atomic(&self.file(name), bytes)
    }

    /// Removes a file inside, if it is there.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), ReportError> {
        let file = self.file(name);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ReportError::io("remove", &file, source))
            }
            _ => Ok(()),
        }
    }

    /// Undoes [`RunFolder::create`], for a run that fails before it trains: removes the files of a run, then the folders that
    /// were created. Other files stay, and so do the folders that hold them.
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
                // Most of them do not exist.
                _ => {}
            }
        }
        self.remove_made();
        Ok(())
    }

    /// Removes created folders from the innermost out, up to the first that is not empty.
    fn remove_made(&self) {
        self.made
            .iter()
            .rev()
            .all(|folder| fs::remove_dir(folder).is_ok());
    }

    /// Creates the folder and its missing parents, all of them or none.
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
                // Another process created the same parent in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder != self.path => {}
                Err(error) => {
                    self.remove_made();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes and removes a small file, so that a full or read-only disk is noticed now and not after an epoch.
    fn try_writing(&self) -> io::Result<()> {
        let probe = partial_path(&self.file(CONFIG_FILE));
        let written = File::create_new(&probe).and_then(fill);
        let removed = fs::remove_file(&probe);
        written.and(removed).inspect_err(|_| self.remove_made())
    }
}

fn fill(mut probe: File) -> io::Result<()> {
    probe.write_all(&[b'\n'; 4096])
}

/// The folder of a run without an output path of its own: `BASE/2026-11-23T05-50-27-NAME`, with the start in UTC.
/// Characters of the name other than letters, digits, `.`, `_` and `-` become `-`.
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

/// Locks the folder against other training processes, if the system can lock folders.
fn lock(path: &Path) -> Result<Option<File>, ReportError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let unreadable = |source| ReportError::io("open the run folder", path, source);
    let folder = foreign::folder(path).map_err(unreadable)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Err(ReportError::InUse {
            path: path.to_owned(),
        }),
        // Some network file systems cannot lock.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Refuses everything but an empty folder.
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
