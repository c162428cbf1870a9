//! A run as lines on a terminal or in a pipe.

use std::io::{self, ErrorKind, Write};

use stagger_runtime::{Event, Outcome, RunError};

use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::run_lines::RunLines;
use crate::sink::Sink;

/// Writes a line per epoch, per skipped batch and per interrupt.
///
/// When the output is closed, as by `stagger train | head`, the run continues without lines.
pub struct Console {
    /// `None` after it was found closed.
    out: Option<Box<dyn Write + Send>>,
    lines: RunLines,
}

impl Console {
    /// Writes to `out`, one call of [`Write::write_all`] per line.
    pub fn new(out: impl Write + Send + 'static, tally: EpochTally) -> Self {
        Self {
            out: Some(Box::new(out)),
            lines: RunLines::new(tally),
        }
    }

    fn write(&mut self, lines: Vec<String>) -> Result<(), ReportError> {
        for line in lines {
            let Some(out) = &mut self.out else {
                return Ok(());
            };
            let written = out.write_all(format!("{line}\n").as_bytes());
            match written.and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(error) if is_closed(&error) => self.out = None,
                Err(source) => return Err(ReportError::Output { source }),
            }
        }
        Ok(())
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
        self.write(lines)
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let lines = self.lines.finish();
        self.write(lines)
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
        };
        Console::new(out, EpochTally::new(plan))
    }

    #[test]
    fn a_closed_pipe_does_not_end_the_run() {
        let mut console = console(Failing(ErrorKind::BrokenPipe));
        assert!(console.event(&Event::Interrupted { batch: 3 }).is_ok());
        assert!(console.out.is_none());
        assert!(console.event(&Event::Interrupted { batch: 3 }).is_ok());
    }

    #[test]
    fn any_other_failure_is_told() {
        let mut console = console(Failing(ErrorKind::StorageFull));
        let error = console
            .event(&Event::Interrupted { batch: 3 })
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("could not write to the standard output: no storage"),
            "{error}"
        );
    }
}
