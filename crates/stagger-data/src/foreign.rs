//! Files that a stranger may have made, opened so that reading them ends.
//!
//! A data set, a run folder or a weights file that came from elsewhere may hold a pipe that nothing is ever written to, a device
//! without an end, a file that claims more bytes than there is memory, or a link to something else of the user. Every reader and every
//! writer of the workspace opens files here (`clippy.toml` refuses the calls of the standard library), and only regular files are opened,
//! each with the number of bytes that its kind may have.
//!
//! A path that a user names may be a link. A file within the folder of a run may be one as long as it does not lead out of that
//! folder ([`open_inside`]), and nothing is written through one ([`append`]).

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::shown::path as shown;

/// Why a file is not opened, or not read to its end. It is the inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is a pipe, a device or a socket.
    #[error("it is {found} and not a regular file; put the file itself there")]
    Kind {
        /// What it is, with its article.
        found: &'static str,
    },
    /// It is longer than files of its kind are.
    #[error("it has {found} bytes and at most {limit} were expected")]
    TooLarge {
        /// Its size in bytes, as far as it is known.
        found: u64,
        /// The largest size in bytes.
        limit: u64,
    },
    /// It is a link to something outside of its folder.
    #[error("it is a link that leads out of its folder, to {}; put the file itself there", shown(.target))]
    LeadsOut {
        /// Where it leads.
        target: PathBuf,
    },
    /// It is a link, and is to be written to.
    #[error("it is a link, and nothing is written or removed through one; remove the link")]
    Link,
    /// It is a link in the place of a folder of a run.
    #[error(
        "it is a link, and a run keeps to its own folder; put the folder itself there, or give --output a folder on the disk that it \
         leads to"
    )]
    FolderLink,
}

impl Unfit {
    fn into_error(self) -> io::Error {
        let kind = match self {
            Self::TooLarge { .. } => ErrorKind::FileTooLarge,
            _ => ErrorKind::InvalidInput,
        };
        io::Error::new(kind, self)
    }

    /// Whether an error says so of a file. Trying again gives the same, so it is no failure of the disk.
    pub fn is_cause_of(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A regular file that gives as many bytes as its kind may have, and then an error.
#[derive(Debug)]
pub struct ForeignFile {
    file: File,
    size_bytes: u64,
    limit_bytes: u64,
    read_bytes: u64,
}

/// Opens a regular file of at most `limit_bytes`. Links are followed: the path is one that the user has named.
///
/// # Errors
/// Those of the system, and [`Unfit`] for what is no regular file or is larger. None of them waits.
pub fn open(path: &Path, limit_bytes: u64) -> io::Result<ForeignFile> {
    // Asked before opening, as opening a device may do something to it, and again of what was opened.
    refuse_other(&fs::metadata(path)?)?;
    opened(path, false, limit_bytes)
}

/// The same for a file in the folder of a run or a snapshot: a link is followed only to a file in that folder or below.
///
/// # Errors
/// As [`open`], and [`Unfit::LeadsOut`].
pub fn open_inside(path: &Path, limit_bytes: u64) -> io::Result<ForeignFile> {
    let whole = resolve_inside(path)?;
    refuse_other(&fs::symlink_metadata(&whole)?)?;
    opened(&whole, true, limit_bytes)
}

/// The content of a regular file of at most `limit_bytes`, which the user has named.
///
/// # Errors
/// As [`open`], and those of reading.
pub fn read(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    open(path, limit_bytes)?.bytes()
}

/// The content of a file of at most `limit_bytes` in the folder of a run or a snapshot.
///
/// # Errors
/// As [`open_inside`], and those of reading.
pub fn read_inside(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    open_inside(path, limit_bytes)?.bytes()
}

/// The text of a regular file of at most `limit_bytes`, which the user has named.
///
/// # Errors
/// As [`read`], and [`ErrorKind::InvalidData`] where it is not UTF-8.
pub fn text(path: &Path, limit_bytes: u64) -> io::Result<String> {
    open(path, limit_bytes)?.text()
}

/// The text of a file of at most `limit_bytes` in the folder of a run or a snapshot.
///
/// # Errors
/// As [`read_inside`], and [`ErrorKind::InvalidData`] where it is not UTF-8.
pub fn text_inside(path: &Path, limit_bytes: u64) -> io::Result<String> {
    open_inside(path, limit_bytes)?.text()
}

/// The text of a file of the system itself, as those below `/proc`.
///
/// # Errors
/// As [`text`].
pub fn system_text(path: &Path) -> io::Result<String> {
    text(path, 1 << 26)
}

/// Whether a name is taken, by whatever it may be: also by a link that leads nowhere.
pub fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Opens a file of a run to append to it; creates it if it is missing.
///
/// # Errors
/// Those of the system, and [`Unfit`] for a link and for what is no regular file. None of them waits.
pub fn append(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) => refuse_written(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = no_links(File::options().append(true).create(true), path)?;
    refuse_written(&file.metadata()?)?;
    Ok(file)
}

/// Creates a file of a run; a file or a link that is there is removed first, and what a link leads to stays.
///
/// # Errors
/// Those of the system, as of a folder that is there.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// Refuses a link that leads out of its folder, or nowhere, in the place of a file of a run. All else is left for the call that
/// follows.
///
/// # Errors
/// [`Unfit::LeadsOut`].
pub fn refuse_leading_out(path: &Path) -> io::Result<()> {
    let Ok(target) = fs::read_link(path) else {
        return Ok(());
    };
    match resolve_inside(path) {
        Ok(_) => Ok(()),
        Err(error) if Unfit::is_cause_of(&error) => Err(error),
        Err(_) => Err(Unfit::LeadsOut { target }.into_error()),
    }
}

/// Refuses a link in the place of a folder of a run. A folder, something else and nothing are left for the call that follows.
///
/// # Errors
/// [`Unfit::FolderLink`].
pub fn refuse_folder_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(Unfit::FolderLink.into_error()),
        _ => Ok(()),
    }
}

/// Opens a folder, for its lock or to flush it. Only Unix opens folders.
///
/// # Errors
/// Those of the system, also for what is no folder. None of them waits.
pub fn folder(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    flags(&mut options, rustix::fs::OFlags::DIRECTORY);
    open_with(&options, path)
}

impl ForeignFile {
    /// Its size in bytes when it was opened. It may have grown or shrunk since.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// When it was last written to, as far as the system says.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        self.file.metadata().and_then(|found| found.modified()).ok()
    }

    /// Leaves out its first bytes: what is read next begins at this place. Past its end there is nothing.
    ///
    /// # Errors
    /// Those of the system, and [`Unfit::TooLarge`] for a place that such a file does not have.
    pub fn skip_to(&mut self, place: u64) -> io::Result<()> {
        if place > self.limit_bytes {
            return Err(too_large(place, self.limit_bytes));
        }
        self.file.seek(SeekFrom::Start(place))?;
        self.read_bytes = place;
        Ok(())
    }

    /// All that is left of it.
    ///
    /// # Errors
    /// Those of reading, and [`Unfit::TooLarge`] where it has grown beyond its limit.
    pub fn bytes(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let expected = self.size_bytes - self.read_bytes.min(self.size_bytes);
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        bytes
            .try_reserve_exact(expected)
            .map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All that is left of it, as text.
    ///
    /// # Errors
    /// As [`ForeignFile::bytes`], and [`ErrorKind::InvalidData`] where it is not UTF-8.
    pub fn text(mut self) -> io::Result<String> {
        let mut text = String::new();
        self.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Its last bytes, so many at most; what is read next is what would have been.
    ///
    /// # Errors
    /// Those of reading.
    pub fn ending(&mut self, most_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let from = self.size_bytes.saturating_sub(most_bytes);
        self.file.seek(SeekFrom::Start(from))?;
        (&self.file).take(most_bytes).read_to_end(&mut bytes)?;
        self.file.seek(SeekFrom::Start(self.read_bytes))?;
        Ok(bytes)
    }

    /// The file itself, without its limit, to lock it.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for ForeignFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One more than there may be, to notice that there are more.
        let left = (self.limit_bytes - self.read_bytes).saturating_add(1);
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let taken = self.file.read(&mut buffer[..most])?;
        let read_bytes = self.read_bytes + taken as u64;
        if read_bytes > self.limit_bytes {
            return Err(too_large(read_bytes, self.limit_bytes));
        }
        self.read_bytes = read_bytes;
        Ok(taken)
    }
}

/// Where a file really is, which has to be in its folder or below.
fn resolve_inside(path: &Path) -> io::Result<PathBuf> {
    let whole = fs::canonicalize(path)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match whole.starts_with(fs::canonicalize(folder)?) {
        true => Ok(whole),
        false => Err(Unfit::LeadsOut { target: whole }.into_error()),
    }
}

fn opened(path: &Path, is_resolved: bool, limit_bytes: u64) -> io::Result<ForeignFile> {
    let mut options = File::options();
    options.read(true);
    let file = match is_resolved {
        true => no_links(&mut options, path)?,
        false => {
            #[cfg(unix)]
            flags(&mut options, rustix::fs::OFlags::NONBLOCK);
            open_with(&options, path)?
        }
    };
    let found = file.metadata()?;
    refuse_other(&found)?;
    let size_bytes = found.len();
    if size_bytes > limit_bytes {
        return Err(too_large(size_bytes, limit_bytes));
    }
    Ok(ForeignFile {
        file,
        size_bytes,
        limit_bytes,
        read_bytes: 0,
    })
}

/// Opens what is no link, and does not wait for the other end of a pipe.
fn no_links(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    flags(
        options,
        rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW,
    );
    open_with(options, path)
}

#[cfg(unix)]
fn flags(options: &mut OpenOptions, flags: rustix::fs::OFlags) {
    use std::os::unix::fs::OpenOptionsExt;

    options.custom_flags(flags.bits().cast_signed());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that opens files, after all checks on what they are"
)]
fn open_with(options: &OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}

fn too_large(found: u64, limit: u64) -> io::Error {
    Unfit::TooLarge { found, limit }.into_error()
}

/// Refuses all but a regular file, as one to write to.
fn refuse_written(found: &Metadata) -> io::Result<()> {
    match found.is_symlink() {
        true => Err(Unfit::Link.into_error()),
        false => refuse_other(found),
    }
}

/// Refuses all but a regular file.
fn refuse_other(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    if found.is_dir() {
        return Err(is_a_folder());
    }
    let found = other(found.file_type());
    Err(Unfit::Kind { found }.into_error())
}

/// As the system says it.
fn is_a_folder() -> io::Error {
    #[cfg(unix)]
    let error = rustix::io::Errno::ISDIR.into();
    #[cfg(not(unix))]
    let error = ErrorKind::IsADirectory.into();
    error
}

#[cfg(unix)]
fn other(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn other(_: FileType) -> &'static str {
    "something else"
}

#[cfg(all(test, unix))]
mod tests;
