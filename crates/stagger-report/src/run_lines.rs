//! The lines that people read during a run: on the console and in the log.

use stagger_runtime::Event;

use crate::epoch::EpochTally;
use crate::epoch_line::format_epoch;

/// Turns events into lines: one per epoch, per skipped batch and when the run is to halt.
#[derive(Debug)]
pub(crate) struct RunLines {
    tally: EpochTally,
}

impl RunLines {
    pub fn new(tally: EpochTally) -> Self {
        Self { tally }
    }

    /// The lines that follow from the next event.
    pub fn event(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        match *event {
            Event::Interrupted { batch } => {
                lines.push(format!("halting at version {batch}"));
            }
            Event::Skipped { batch, loss, .. } => {
                lines.push(format!("batch {batch} is left out: its loss is {loss}"));
            }
            _ => {}
        }
        lines.extend(self.tally.event(event).as_ref().map(format_epoch));
        lines
    }

    /// The lines of the epochs that the end of the run cut short.
    pub fn finish(&mut self) -> Vec<String> {
        self.tally.flush().iter().map(format_epoch).collect()
    }
}
