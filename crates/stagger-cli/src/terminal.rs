//! What this process says, on a terminal or elsewhere: the one place that writes to the standard output and the standard error.
//! Neither a text from elsewhere nor an output that cannot be written does more than change what is said.

use std::io::{self, ErrorKind, Write};

use stagger::ReportError;
use stagger::data::{shown_lines, shown_sentence};
use stagger::report::is_closed;

use crate::screen;

/// Prints to the standard output. A reader that has gone away, as `head` or a closed terminal, is no failure.
///
/// # Errors
/// [`ReportError::Output`] when it cannot be written for another reason, such as a full disk.
pub fn print(text: &str) -> Result<(), ReportError> {
    match write(&shown_lines(text)) {
        Err(source) if !is_gone(&source) => Err(ReportError::Output { source }),
        _ => Ok(()),
    }
}

/// Writes text to the standard output, and what was written before.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says a sentence on the standard error, after giving a terminal back that is a screen. Where it cannot be written, the exit status
/// still tells.
pub fn say(sentence: &str) {
    screen::restore();
    let line = shown_sentence(sentence) + "\n";
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Lines on the standard output of work that goes on when they cannot be written.
#[derive(Debug, Default)]
pub struct Lines {
    failed: Option<ReportError>,
}

impl Lines {
    /// Prints now, whether the line has ended or not.
    pub fn print(&mut self, text: &str) {
        if let Err(error) = print(text) {
            self.failed.get_or_insert(error);
        }
    }

    /// Why some could not be written: the first reason.
    pub fn into_failure(self) -> Option<ReportError> {
        self.failed
    }
}

/// Whether the reader of the standard output has gone. A device in error is one if it is a terminal, and none if it is a disk.
pub fn is_gone(error: &io::Error) -> bool {
    is_closed(error) && (error.kind() == ErrorKind::BrokenPipe || is_device())
}

/// Whether the standard output goes to a device, such as a terminal, which no longer says that it is one once it is gone.
#[cfg(unix)]
fn is_device() -> bool {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;

    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let what = out.and_then(|out| out.metadata());
    what.is_ok_and(|what| what.file_type().is_char_device())
}

#[cfg(not(unix))]
fn is_device() -> bool {
    true
}
