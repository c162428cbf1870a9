//! Opens and reads files of unknown origin with bounds on what is allocated.

use std::io::{self, Read};
use std::path::Path;

use crate::file_error::FileError;
use crate::foreign::{self, ForeignFile, Unfit};

/// Opens a regular file (symbolic links are followed) to read it bit by bit, and tells its size in bytes.
///
/// # Errors
/// [`FileError::Io`] if it cannot be opened or is a folder, pipe or device.
pub(crate) fn open(path: &Path) -> Result<(ForeignFile, u64), FileError> {
    let file = foreign::open(path, u64::MAX).map_err(FileError::io(path))?;
    let size_bytes = file.size_bytes();
    Ok((file, size_bytes))
}

/// Reads a whole file of at most `limit_bytes`.
///
/// # Errors
/// [`FileError::Io`], or [`FileError::TooLarge`] if the file is larger.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    foreign::read(path, limit_bytes).map_err(|error| {
        let unfit = error.get_ref().and_then(|inner| inner.downcast_ref());
        match unfit {
            Some(&Unfit::TooLarge { found, limit }) => FileError::TooLarge {
                path: path.to_path_buf(),
                what: "bytes",
                found,
                limit,
                why: "are read of such a file",
            },
            _ => FileError::io(path)(error),
        }
    })
}

/// Fills as much of `buffer` as `reader` gives and returns how much that is.
pub(crate) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The non-empty lines of a small text file, trimmed.
///
/// # Errors
/// [`FileError::Io`] if it cannot be read or is not UTF-8, [`FileError::TooLarge`] above 64 KiB.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, FileError> {
    let text = String::from_utf8(read(path, 1 << 16)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        .map_err(FileError::io(path))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_above_the_limit_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, " a \n\nb\r\n").unwrap();
        assert_eq!(lines(&path).unwrap(), ["a", "b"]);
        assert_eq!(read(&path, 8).unwrap().len(), 8);
        assert!(matches!(
            read(&path, 7),
            Err(FileError::TooLarge {
                found: 8,
                limit: 7,
                ..
            })
        ));
        assert!(matches!(read(folder.path(), 7), Err(FileError::Io { .. })));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(lines(&path), Err(FileError::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "abc").unwrap();
        std::os::unix::fs::symlink("x", folder.path().join("link")).unwrap();
        assert_eq!(read(&folder.path().join("link"), 9).unwrap(), b"abc");
    }
}
