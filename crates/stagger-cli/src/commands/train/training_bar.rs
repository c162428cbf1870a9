//! The progress bar of a run, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stagger::report::{EpochTally, ReportError, Sink, Sinks};
use stagger::runtime::{Event, Outcome, RunError};

/// Where the lines of a run go. On a terminal they stand above a bar, which becomes one of its sinks.
pub fn lines_and_bar(tally: &EpochTally, sinks: &mut Sinks<'_>) -> Box<dyn Write + Send> {
    if !io::stderr().is_terminal() {
        return Box::new(io::stdout());
    }
    let bar = TrainingBar::new(tally.clone());
    let out = bar.above(io::stdout());
    sinks.push(bar);
    Box::new(out)
}

const DRAWS_PER_SECOND: u8 = 10;
const BAR: &str = "{msg} {wide_bar} {pos}/{len} batches · {eta} left";

/// A progress bar on the standard error; none where that is no terminal.
struct TrainingBar {
    bar: ProgressBar,
    tally: EpochTally,
    moved_at: Option<Duration>,
}

impl TrainingBar {
    /// A bar over all batches of the run of this tally.
    fn new(tally: EpochTally) -> Self {
        let batches = tally.plan().batches as u64;
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(Some(batches), target);
        bar.set_position(tally.start_version() as u64);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self {
            bar,
            tally,
            moved_at: None,
        }
    }

    /// Hides the bar while something is written to `out`, so that lines stand above it.
    fn above<W: Write>(&self, out: W) -> AboveBar<W> {
        AboveBar {
            out,
            bar: self.bar.clone(),
        }
    }

    fn move_to(&mut self, batch: usize, loss: f32, at: Duration) {
        let gap = Duration::from_secs(1) / u32::from(DRAWS_PER_SECOND);
        if self.bar.is_hidden() || self.moved_at.is_some_and(|before| at < before + gap) {
            return;
        }
        self.moved_at = Some(at);
        let plan = self.tally.plan();
        let (epoch, epochs) = (plan.epoch_of(batch) + 1, plan.epochs());
        let rate = self.tally.images_per_second();
        let learned = match plan.emulated {
            true => "emulated".to_owned(),
            false => format!("loss {loss:.3}"),
        };
        self.bar.set_message(format!(
            "epoch {epoch}/{epochs} · {learned} · {rate:.0} images/s"
        ));
        self.bar.set_position(batch as u64 + 1);
    }
}

impl Sink for TrainingBar {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.tally.event(event);
        if let Event::Trained {
            batch, loss, at, ..
        } = *event
        {
            self.move_to(batch, loss, at);
        }
        Ok(())
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.bar.finish_and_clear();
        Ok(())
    }
}

/// A writer that shares the terminal with a bar; see [`TrainingBar::above`].
struct AboveBar<W> {
    out: W,
    bar: ProgressBar,
}

impl<W: Write> Write for AboveBar<W> {
    /// Writes and flushes all bytes: the bar comes back below them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { out, bar } = self;
        bar.suspend(|| out.write_all(bytes).and_then(|()| out.flush()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use stagger::report::EpochPlan;

    use super::*;

    #[test]
    fn the_bar_has_a_valid_template() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

    #[test]
    fn lines_above_the_bar_are_written_whole() {
        let bar = TrainingBar::new(EpochTally::new(EpochPlan {
            batches_per_epoch: 1,
            batches: 2,
            evaluate_at: Vec::new(),
            emulated: false,
        }));
        let mut above = bar.above(Vec::new());
        above.write_all(b"epoch 1/2\n").unwrap();
        assert_eq!(above.out, b"epoch 1/2\n");
    }
}
