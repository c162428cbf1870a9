//! A run that is interrupted and resumed ends with the weights of one that never was.
//!
//! ```text
//! interrupted: true
//! resumed, and ended at version 60
//! same weights: true
//! ```
#![allow(clippy::disallowed_methods, reason = "its files are its own")]

use stagger::{Event, Interrupt, ReportError, Sink, Training, TrainingOptions};

/// Requests an interrupt after so many batches, as Ctrl-C would.
struct InterruptAt(usize, Interrupt);

impl Sink for InterruptAt {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if matches!(event, Event::Trained { batch, .. } if *batch == self.0) {
            self.1.request();
        }
        Ok(())
    }
}

fn training<'a>() -> Training<'a> {
    let options = TrainingOptions {
        evaluate: Some(false),
        ..TrainingOptions::default()
    };
    (Training::new().options(options))
        .schedule("dsp")
        .stages(2)
        .max_batches(60)
}

fn main() -> Result<(), stagger::Error> {
    let folder = std::env::temp_dir().join(format!("stagger-resume-{}", std::process::id()));
    let interrupt = Interrupt::new();
    let run = training()
        .output(&folder)
        .interrupt(interrupt.clone())
        .sink(InterruptAt(20, interrupt))
        .run()?;
    println!("interrupted: {}", run.interrupted);
    let resumed = Training::new().resume(&folder).run()?;
    println!("resumed, and ended at version {}", resumed.version);

    let unbroken = training().run()?;
    println!(
        "same weights: {}",
        resumed.weights()? == unbroken.weights()?
    );
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}
