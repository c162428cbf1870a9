//! A receiver of events of one's own: anything that implements `Sink`, beside or instead of console and run folder.
//!
//! ```text
//! @OUTPUT@
//! ```

use stagger::report::ReportError;
use stagger::runtime::{Outcome, RunError};
use stagger::{Event, Sink, Training};

/// Prints the mean loss of every twenty batches.
#[derive(Default)]
struct Losses {
    recent: Vec<f32>,
}

impl Sink for Losses {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let Event::Trained { batch, loss, .. } = event {
            self.recent.push(*loss);
            if self.recent.len() == 20 {
                let mean = self.recent.iter().sum::<f32>() / 20.0;
                println!("batches {} to {batch}: loss {mean:.2}", batch - 19);
                self.recent.clear();
            }
        }
        Ok(())
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        println!("{}", if end.is_ok() { "done" } else { "failed" });
        Ok(())
    }
}

pub fn main() -> Result<(), stagger::Error> {
    let training = Training::new().schedule("dsp").stages(2).max_batches(80);
    training.sink(Losses::default()).run()?;
    Ok(())
}
