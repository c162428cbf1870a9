//! What can go wrong while results are written or read back.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a result could not be written or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The output path is taken.
    #[error(
        "the output path {} is {what}; choose another with --output, or remove it",
        path.display()
    )]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("could not {doing} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as a verb: `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The terminal, or whatever the standard output leads to, failed.
    #[error("could not write to the standard output: {source}{}", advice(source))]
    Output {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A folder is not that of a run.
    #[error("{} is not the folder of a finished run: {missing} missing", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The files that are not there, with the verb: `a and b are`.
        missing: String,
    },
    /// Another process writes into the folder.
    #[error("another process trains in {}; wait for its end, or stop it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A line of a metrics file is not a record.
    #[error("{}, line {line}: {what}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file does not hold weights that can be taken.
    #[error("{} is not a weights file that stagger reads: {what}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A snapshot of another format.
    #[error(
        "{}: the format version is {found}; this version of stagger reads {expected}",
        path.display()
    )]
    SnapshotFormat {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The one that is read.
        expected: u32,
    },
    /// A file of a snapshot is not what the manifest says, or not what it has to be.
    #[error("{} is not part of a whole snapshot: {what}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something to be written has no form on disk.
    #[error("could not encode {}: {what}", path.display())]
    Encode {
        /// The file that it was meant for.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// A sink of another crate failed.
    #[error(transparent)]
    Sink(Box<dyn Error + Send + Sync>),
}

impl ReportError {
    /// The error of a [`Sink`](crate::Sink) of another crate.
    pub fn of_sink(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Sink(error.into())
    }

    /// Whether it says that something is not whole, and not merely that it could not be looked at.
    pub(crate) fn is_damage(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, NotADirectory, NotFound};
        match self {
            Self::Snapshot { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), NotFound | NotADirectory | FileTooLarge)
            }
            _ => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// What to do about it, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero => {
            "; free some space, or choose another disk with --output"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "; choose a place that can be written with --output"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let full = io::Error::from(ErrorKind::StorageFull);
        let error = ReportError::io("write", Path::new("runs/a/metrics.jsonl"), full);
        assert_eq!(
            error.to_string(),
            "could not write runs/a/metrics.jsonl: no storage space; free some space, or choose \
             another disk with --output"
        );
        let missing = io::Error::from(ErrorKind::NotFound);
        let error = ReportError::io("read", Path::new("a"), missing);
        assert_eq!(error.to_string(), "could not read a: entity not found");
    }
}
