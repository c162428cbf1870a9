//! Errors of a file system that may not come again.

use std::io::{self, ErrorKind};

/// Whether the same, done from the beginning, may succeed: a device or a server that did not answer in time (EIO, ETIMEDOUT), or a
/// server that has been started anew (ESTALE). Flushing once more would not do: a system may have dropped what it could not write.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    let has_number = cfg!(unix) && error.raw_os_error() == Some(EIO);
    has_number
        || matches!(
            error.kind(),
            ErrorKind::TimedOut | ErrorKind::StaleNetworkFileHandle
        )
}

/// Does something that looks at a file or writes it anew, and after an error that may pass does it once more.
pub(crate) fn once_more(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    match attempt() {
        Err(error) if is_passing(&error) => attempt(),
        result => result,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Attempts, and whether the last one succeeded, when the first fail with these errors.
    fn attempts(errors: &[i32]) -> (usize, bool) {
        let mut made = 0;
        let result = once_more(|| {
            made += 1;
            match errors.get(made - 1) {
                Some(&code) => Err(io::Error::from_raw_os_error(code)),
                None => Ok(()),
            }
        });
        (made, result.is_ok())
    }

    #[test]
    fn what_may_pass_is_tried_once_more() {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        assert_eq!(attempts(&[]), (1, true));
        assert_eq!(attempts(&[EIO]), (2, true));
        assert_eq!(attempts(&[EIO, EIO]), (2, false));
        assert_eq!(attempts(&[ENOSPC]), (1, false));
    }
}
