//! Errors of writing results and of reading them back.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use stagger_data::foreign::Unfit;

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
    /// A file that shall be written is there.
    #[error("{} is there already; name another file, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file shall be written into a folder that is not there.
    #[error(
        "{} cannot be written: its folder is not there; create it, or name another file",
        path.display()
    )]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The name of a file does not say in which format it shall be.
    #[error(
        "{} does not say the format of the file; give it a name that ends with {expected}",
        path.display()
    )]
    Ending {
        /// The file.
        path: PathBuf,
        /// The endings of names that there are.
        expected: &'static str,
    },
    /// A matrix of all classes would be too large.
    #[error(
        "{} would hold a matrix of {found} classes; at most {most} are written: use a name that ends with .txt for a list",
        path.display()
    )]
    TooManyClasses {
        /// The file.
        path: PathBuf,
        /// Number of classes.
        found: usize,
        /// The largest number.
        most: usize,
    },
    /// The operating system refused.
    #[error("could not {doing} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was attempted, as a verb: `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The output for people failed.
    #[error("could not write to the standard output: {source}{}", advice(source))]
    Output {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A folder is not that of a finished run.
    #[error("{} is not the folder of a finished run: {missing} missing", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The missing files, with the verb: `a and b are`.
        missing: String,
    },
    /// Another process trains in the folder.
    #[error("another process trains in {}; wait for its end, or stop it", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A line of a metrics file is no valid record.
    #[error("{}, line {line}: {what}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Lines of a metrics file are not those that were there when a snapshot was taken.
    #[error(
        "{} is damaged: its lines before version {version} have another checksum than the snapshot says",
        path.display()
    )]
    MetricsChanged {
        /// The file.
        path: PathBuf,
        /// The version of the snapshot.
        version: usize,
    },
    /// A snapshot is of a time that the run has given up.
    #[error("the run has gone back to version {to} since")]
    GivenUp {
        /// The version.
        to: usize,
    },
    /// A file is no valid weights file.
    #[error("{} is not a weights file that stagger reads: {what}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A snapshot has another format version.
    #[error(
        "{}: the format version is {found}; this version of stagger reads {expected}",
        path.display()
    )]
    SnapshotFormat {
        /// The manifest.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The format version that is read.
        expected: u32,
    },
    /// A file of a snapshot is damaged, or differs from what the manifest says.
    #[error("{} is not part of a whole snapshot: {what}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something else has the name of a snapshot's folder.
    #[error(
        "{} is no snapshot, and not of this run: it is left alone, and no snapshot of its version is kept; move it away",
        path.display()
    )]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// Data cannot be encoded.
    #[error("could not encode {}: {what}", path.display())]
    Encode {
        /// The file to be written.
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

    /// Whether it says that a file is damaged or missing, as opposed to one that could not be read.
    pub(crate) fn is_damage(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, IsADirectory, NotADirectory, NotFound};
        match self {
            Self::Snapshot { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    NotFound | NotADirectory | IsADirectory | FileTooLarge
                ) || Unfit::is_cause_of(source)
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

/// What the user can do about it, if known.
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
