//! The run on a terminal: a progress bar, and a line per epoch.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stagger_runtime::{Event, Outcome, RunError};

use crate::epoch::EpochTally;
use crate::epoch_line::format_epoch;
use crate::error::ReportError;
use crate::log::skipped;
use crate::sink::Sink;

const DRAWS_PER_SECOND: u8 = 10;
const BAR: &str = "{msg} {wide_bar} {pos}/{len} batches · {eta} left";

/// A line per epoch to the output and, where the standard error is a terminal, a progress bar
/// there.
///
/// When the output is closed, as by `stagger train | head`, training goes on in silence.
pub struct Console {
    /// `None` once it was found closed.
    out: Option<Box<dyn Write + Send>>,
    bar: ProgressBar,
    tally: EpochTally,
    bar_changed_at: Option<Duration>,
}

impl Console {
    /// Lines go to `out`. The bar is drawn only when `show_bar` is set and the standard error is a
    /// terminal.
    pub fn new(out: Box<dyn Write + Send>, tally: EpochTally, show_bar: bool) -> Self {
        let target = match show_bar {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        let batches = tally.plan().batches as u64;
        let bar = ProgressBar::with_draw_target(Some(batches), target);
        bar.set_position(tally.start_version() as u64);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self {
            out: Some(out),
            bar,
            tally,
            bar_changed_at: None,
        }
    }

    fn line(&mut self, text: &str) -> Result<(), ReportError> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let written = self
            .bar
            .suspend(|| writeln!(out, "{text}").and_then(|()| out.flush()));
        if written.as_ref().is_err_and(is_closed) {
            self.out = None;
            return Ok(());
        }
        written.map_err(|source| ReportError::Output { source })
    }

    fn move_bar(&mut self, batch: usize, loss: f32, at: Duration) {
        let gap = Duration::from_secs(1) / u32::from(DRAWS_PER_SECOND);
        if self.bar.is_hidden() || self.bar_changed_at.is_some_and(|before| at < before + gap) {
            return;
        }
        self.bar_changed_at = Some(at);
        let plan = self.tally.plan();
        let (epoch, epochs) = (plan.epoch_of(batch) + 1, plan.epochs());
        let rate = self.tally.rate_so_far();
        self.bar.set_message(Cow::Owned(format!(
            "epoch {epoch}/{epochs} · loss {loss:.3} · {rate:.0} images/s"
        )));
        self.bar.set_position(batch as u64 + 1);
    }
}

/// Whether an error of writing to the output means that nobody reads it any more: a closed pipe, or
/// a terminal that is gone.
pub fn is_closed(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == ErrorKind::BrokenPipe || (cfg!(unix) && error.raw_os_error() == Some(EIO))
}

impl Sink for Console {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        let summary = self.tally.event(event);
        match *event {
            Event::Trained {
                batch, loss, at, ..
            } => self.move_bar(batch, loss, at),
            Event::Interrupted { batch } => {
                self.line(&format!("interrupted: halting at version {batch}"))?;
            }
            Event::Skipped { batch, loss, .. } => self.line(&skipped(batch, loss))?,
            _ => {}
        }
        summary.map_or(Ok(()), |summary| self.line(&format_epoch(&summary)))
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.bar.finish_and_clear();
        let summaries = self.tally.flush();
        summaries
            .iter()
            .try_for_each(|summary| self.line(&format_epoch(summary)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EpochPlan;

    #[test]
    fn the_bar_has_a_valid_template() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

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
        Console::new(Box::new(out), EpochTally::new(plan), false)
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
