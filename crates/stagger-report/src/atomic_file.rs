//! Files that are complete or missing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stagger_data::foreign;

use crate::disk_watch;
use crate::error::ReportError;
use crate::folder_sync;
use crate::passing_error::once_more;

/// Writes `bytes` to `path` so that a reader, even after a crash, finds the former content or the new one, never a part:
/// writes a temporary file in the same folder, flushes it to disk, renames it over `path`, and flushes the folder. An error that may
/// pass, as of a network file system whose server does not answer, is met by doing so once more.
///
/// # Errors
/// [`ReportError::Io`] when one of these steps fails. The former content is then unchanged and the temporary file removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let partial = partial_path(path);
    let written = disk_watch::during("write", path, || {
        once_more(|| write_and_rename(path, &partial, bytes))
    });
    if written.is_err() {
        // The first failure is the one to report, whether or not this works.
        let _ = fs::remove_file(&partial);
    }
    written.map_err(|source| ReportError::io("write", path, source))
}

/// The temporary name next to `path`: `.NAME.partial`.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

fn write_and_rename(path: &Path, partial: &Path, bytes: &[u8]) -> io::Result<()> {
    fill(foreign::create_anew(partial)?, bytes)?;
    fs::rename(partial, path)?;
    sync_folder(path)
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the new name of a file to disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    folder_sync::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect()
    }

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_atomic(&path, b"one, which is longer").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_leftover_of_a_crash_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(partial_path(&path), b"half of something much longer").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = fill(full, b"new").unwrap_err();
        let error = ReportError::io("write", Path::new("a.bin"), error).to_string();
        assert!(error.contains("a.bin: No space left on device"), "{error}");
        assert!(error.contains("free some space"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_links() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let (path, theirs) = (folder.path().join("a.bin"), folder.path().join("theirs"));
        fs::write(&theirs, "theirs").unwrap();
        symlink("theirs", partial_path(&path)).unwrap();
        symlink("theirs", &path).unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!path.is_symlink());
    }

    #[test]
    fn missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone").join("a.bin");
        let error = write_atomic(&path, b"new").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("could not write {}", path.display())),
            "{error}"
        );
    }

    #[test]
    fn a_failed_rename_leaves_no_partial_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"").unwrap();
        assert!(write_atomic(&path, b"new").is_err());
        assert_eq!(names(folder.path()), ["taken"]);
    }
}
