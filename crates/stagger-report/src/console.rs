//! A run as lines on a terminal or in a pipe.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, OnceLock};

use stagger_runtime::{Event, Outcome, RunError};

use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::run_lines::RunLines;
use crate::sink::Sink;

/// Writes a line per epoch, per skipped batch and per interrupt.
///
/// When the output is closed, as by `stagger train | head`, the run continues without lines; so it does when the output cannot be
/// written for another reason, such as a full disk, which [`Unprinted`] then says.
pub struct Console {
    /// `None` after it was found closed.
    out: Option<Box<dyn Write + Send>>,
    lines: RunLines,
    unprinted: Unprinted,
}

/// Why lines for people could not be written: the first reason, other than a closed output, which is none. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Unprinted(Arc<OnceLock<io::Error>>);

impl Unprinted {
    /// Takes what came of writing a line.
    pub fn note(&self, written: io::Result<()>) {
        if let Err(error) = written
            && !is_closed(&error)
        {
            // Only the first is kept.
            let _ = self.0.set(error);
        }
    }

    /// [`ReportError::Output`] when a line could not be written.
    #[must_use]
    pub fn error(&self) -> Option<ReportError> {
        let error = self.0.get()?;
        let source = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        Some(ReportError::Output { source })
    }
}

impl Console {
    /// Writes to `out`, one call of [`Write::write_all`] per line.
    pub fn new(out: impl Write + Send + 'static, tally: EpochTally) -> Self {
        Self {
            out: Some(Box::new(out)),
            lines: RunLines::new(tally),
            unprinted: Unprinted::default(),
        }
    }

    /// Notes there what cannot be written.
    #[must_use]
    pub fn noting(mut self, unprinted: &Unprinted) -> Self {
        self.unprinted = unprinted.clone();
        self
    }

    fn write(&mut self, lines: Vec<String>) {
        for line in lines {
            let Some(out) = &mut self.out else {
                return;
            };
            let written = out.write_all(format!("{line}\n").as_bytes());
            let written = written.and_then(|()| out.flush());
            if written.as_ref().is_err_and(is_closed) {
                self.out = None;
            }
            self.unprinted.note(written);
        }
    }
}

/// Whether an error of writing to the output says that it has no reader any more: a closed pipe, or a terminal that is
/// gone.
pub fn is_closed(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == ErrorKind::BrokenPipe || (cfg!(unix) && error.raw_os_error() == Some(EIO))
}

impl Sink for Console {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        let lines = self.lines.event(event);
        self.write(lines);
        Ok(())
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let lines = self.lines.finish();
        self.write(lines);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EpochPlan;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(out: impl Write + Send + 'static) -> Console {
        let plan = EpochPlan {
            batches_per_epoch: 1,
            batches: 1,
            evaluate_at: vec![],
            emulated: false,
        };
        Console::new(out, EpochTally::new(plan))
    }

    #[test]
    fn a_closed_pipe_does_not_end_the_run() {
        let mut console = console(Failing(ErrorKind::BrokenPipe));
        assert!(console.event(&Event::Interrupted { batch: 3 }).is_ok());
        assert!(console.out.is_none() && console.unprinted.error().is_none());
        assert!(console.event(&Event::Interrupted { batch: 3 }).is_ok());
    }

    #[test]
    fn any_other_failure_is_noted() {
        let unprinted = Unprinted::default();
        let mut console = console(Failing(ErrorKind::StorageFull)).noting(&unprinted);
        assert!(unprinted.error().is_none());
        assert!(console.event(&Event::Interrupted { batch: 3 }).is_ok());
        let error = unprinted.error().unwrap().to_string();
        assert!(
            error.starts_with("could not write to the standard output: no storage"),
            "{error}"
        );
    }
}
