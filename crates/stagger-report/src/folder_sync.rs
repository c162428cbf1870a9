//! Flushes the names in a folder to disk, where the file system can.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use stagger_data::foreign;

static IS_MISSING: AtomicBool = AtomicBool::new(false);

/// Whether a file system has been met that cannot flush folders: what is new there is on disk when that system writes it, and a power
/// cut before that may lose a file that was reported as written. No other loss follows.
#[must_use]
pub fn folders_cannot_be_flushed() -> bool {
    IS_MISSING.load(Ordering::Relaxed)
}

/// Flushes the names in a folder to disk. Does nothing where the system has no such call, as Windows and some network file systems.
///
/// # Errors
/// As the system has them, of a folder that it can flush.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix opens folders.
    if !cfg!(unix) {
        return Ok(());
    }
    tolerate(foreign::folder(folder).and_then(|folder| folder.sync_all()))
}

fn tolerate(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_missing(&error) => {
            IS_MISSING.store(true, Ordering::Relaxed);
            Ok(())
        }
        result => result,
    }
}

/// Whether the system says that it has no such call here, and not that the call failed: EINVAL, ENOSYS, EOPNOTSUPP, EBADF (a
/// folder that is open to read only), and what others may see the folder of, but not flush it.
fn is_missing(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
    ) || error.raw_os_error() == Some(EBADF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_call_is_no_failure_and_a_failed_one_is() {
        // EBADF, EACCES, EINVAL, ENOSYS, EOPNOTSUPP of Linux.
        let missing = match cfg!(target_os = "linux") {
            true => &[9, 13, 22, 38, 95][..],
            false => &[9][..],
        };
        for &code in missing {
            tolerate(Err(io::Error::from_raw_os_error(code))).unwrap();
            assert!(folders_cannot_be_flushed());
        }
        // EIO, ENOSPC.
        for code in [5, 28] {
            assert!(tolerate(Err(io::Error::from_raw_os_error(code))).is_err());
        }
    }

    #[test]
    fn folders_are_flushed() {
        let folder = tempfile::tempdir().unwrap();
        sync_folder(folder.path()).unwrap();
        assert!(sync_folder(&folder.path().join("none")).is_err());
    }
}
