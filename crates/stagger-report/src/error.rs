//! Errors of writing results and of reading them back.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use stagger_data::foreign::Unfit;
use stagger_data::{shown_path, shown_sentence, shown_text};

use crate::new_place::folder_of;

/// Why a result could not be written or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The output path is taken.
    #[error(
        "the output path {} is {what}; choose another with --output, or remove it",
        shown_path(path)
    )]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A file that shall be written is there.
    #[error(
        "{} is there already; name another file, or remove it",
        shown_path(path)
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file is to have the name of one that a run writes itself.
    #[error(
        "{} is the name of what the run itself writes there; choose another",
        shown_path(path)
    )]
    OwnName {
        /// The path.
        path: PathBuf,
    },
    /// The path of a file ends with a slash or a dot.
    #[error("{} ends as the path of a folder does; name a file", shown_path(path))]
    FolderName {
        /// The path.
        path: PathBuf,
    },
    /// A file shall be written into a folder that is not there.
    #[error(
        "{} cannot be written: its folder is not there; create it, or name another file",
        shown_path(path)
    )]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// A folder is none of a run.
    #[error(
        "{} is no run folder: it has no metrics.jsonl; name the folder of a run that has begun to train",
        shown_path(path)
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The name of a file does not say in which format it shall be.
    #[error(
        "{} does not say the format of the file; give it a name that ends with {expected}",
        shown_path(path)
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
        shown_path(path)
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
    #[error(
        "could not {doing} {}: {source}{}",
        shown_path(path),
        advice(doing, path, source)
    )]
    Io {
        /// What was attempted, as a verb: `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file that a run writes is not at its path any more, or has lost what was in it.
    #[error(
        "{} was moved, replaced or cut short while the run wrote it; put it back, and resume the run",
        shown_path(path)
    )]
    TakenAway {
        /// The file.
        path: PathBuf,
    },
    /// The output for people failed.
    #[error(
        "could not write to the standard output: {source}{}",
        output_advice(source)
    )]
    Output {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A folder is not that of a finished run.
    #[error(
        "{} is not the folder of a finished run: {missing} missing",
        shown_path(path)
    )]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// The missing files, with the verb: `a and b are`.
        missing: String,
    },
    /// Another process trains in the folder.
    #[error(
        "another process trains in {}; wait for its end, or stop it",
        shown_path(path)
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A line of a metrics file is no valid record.
    #[error("{}, line {line}: {}", shown_path(path), shown_text(what))]
    Metrics {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file is no trace that can be drawn.
    #[error(
        "{} is no trace that a timeline can be drawn from: {}",
        shown_path(path),
        shown_text(what)
    )]
    Trace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Lines of a metrics file are not those that were there when a snapshot was taken.
    #[error(
        "{} is damaged: its lines before version {version} have another checksum than the snapshot says",
        shown_path(path)
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
    #[error(
        "{} is not a weights file that stagger reads: {}",
        shown_path(path),
        shown_sentence(what)
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A snapshot has another format version.
    #[error(
        "{}: the format version is {found}; this version of stagger reads {expected}",
        shown_path(path)
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
    #[error(
        "{} is not part of a whole snapshot: {}",
        shown_path(path),
        shown_text(what)
    )]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something else has the name of a snapshot's folder.
    #[error(
        "{} is no snapshot, and not of this run: it is left alone, and no snapshot of its version is kept; move it away",
        shown_path(path)
    )]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// Data cannot be encoded.
    #[error("could not encode {}: {}", shown_path(path), shown_text(what))]
    Encode {
        /// The file to be written.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// What should be an address to listen at is none.
    #[error(
        "`{}` is no address to listen at; give HOST:PORT, such as 127.0.0.1:9100",
        shown_text(address)
    )]
    Address {
        /// What was said.
        address: String,
    },
    /// Requests of metrics cannot be listened for.
    #[error(
        "cannot listen at {} for requests of metrics: {source}{}",
        shown_text(address),
        listen_advice(source)
    )]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
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
fn advice(doing: &str, path: &Path, error: &io::Error) -> &'static str {
    let reads = doing.starts_with("read") || doing == "open the run folder";
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero => {
            "; free some space, or choose another disk with --output"
        }
        ErrorKind::PermissionDenied if reads => "; make it readable",
        ErrorKind::NotFound if doing.starts_with("write") && !folder_of(path).is_dir() => {
            "; its folder is gone: a run whose folder was renamed is resumed under its new name"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "; make it writable, or choose another place with --output"
        }
        _ if is_file_size_limit(error) => TOO_LARGE,
        _ => "",
    }
}

/// The same for an output that is no file of the run.
fn output_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero => {
            "; free some space where it goes to, or send it elsewhere"
        }
        _ if is_file_size_limit(error) => TOO_LARGE,
        _ => "",
    }
}

/// The same for an address that cannot be listened at.
fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "; name another port",
        ErrorKind::PermissionDenied => "; name a port above 1023",
        ErrorKind::AddrNotAvailable => "; name an address of this host",
        _ => "",
    }
}

/// Readers refuse files as too large, too, and then there is no error of the system.
fn is_file_size_limit(error: &io::Error) -> bool {
    error.kind() == ErrorKind::FileTooLarge && error.raw_os_error().is_some()
}

const TOO_LARGE: &str = "; raise the limit on the size of files (ulimit -f), or, where that is unlimited, choose another file system";

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
        let refused = io::Error::from(ErrorKind::FileTooLarge);
        let error = ReportError::io("read", Path::new("a"), refused);
        assert_eq!(error.to_string(), "could not read a: file too large");
        let missing = io::Error::from(ErrorKind::NotFound);
        let error = ReportError::io("read", Path::new("a"), missing);
        assert_eq!(error.to_string(), "could not read a: entity not found");
        let kind = ErrorKind::PermissionDenied;
        for (doing, expected) in [
            (
                "read",
                "could not read a: permission denied; make it readable",
            ),
            (
                "open the run folder",
                "could not open the run folder a: permission denied; make it readable",
            ),
            (
                "write",
                "could not write a: permission denied; make it writable, or choose another place with --output",
            ),
        ] {
            let error = ReportError::io(doing, Path::new("a"), io::Error::from(kind));
            assert_eq!(error.to_string(), expected);
        }
        let gone = io::Error::from(ErrorKind::NotFound);
        let error = ReportError::io("write", Path::new("a/b"), gone);
        assert_eq!(
            error.to_string(),
            "could not write a/b: entity not found; its folder is gone: a run whose folder was renamed is resumed under its new name"
        );
        let here = ReportError::io("write", Path::new("b"), ErrorKind::NotFound.into());
        assert_eq!(here.to_string(), "could not write b: entity not found");
    }

    #[cfg(unix)]
    #[test]
    fn a_limit_on_the_size_of_files_is_named() {
        const EFBIG: i32 = 27;
        let limit = io::Error::from_raw_os_error(EFBIG);
        let error = ReportError::io("write", Path::new("a"), limit).to_string();
        assert!(error.contains("the size of files (ulimit -f)"), "{error}");
    }

    #[test]
    fn what_a_file_says_stays_on_its_line() {
        let what = "x\nerror: forged \u{1b}[2J".to_owned();
        let path = PathBuf::from("a\nb");
        let error = ReportError::Metrics {
            path,
            line: 3,
            what,
        };
        let expected = r"a\nb, line 3: x\nerror: forged \u{1b}[2J";
        assert_eq!(error.to_string(), expected);
    }
}
