//! A receiver of events of one's own: anything that implements `Sink`, beside or instead of console and run folder.
//!
//! ```text
//! batches 0 to 19: loss 2.25
//! batches 20 to 39: loss 1.77
//! batches 40 to 59: loss 1.45
//! batches 60 to 79: loss 1.29
//! 80 passes were recomputed
//! ```

use stagger::runtime::Acted;
use stagger::schedule::Action;
use stagger::{Event, ReportError, Sink, Training};

/// Prints the mean loss of every twenty batches, and counts the recomputed forward passes.
#[derive(Default)]
struct Watch {
    losses: Vec<f32>,
    recomputed: usize,
}

impl Sink for Watch {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Trained { batch, loss, .. } => {
                self.losses.push(*loss);
                if self.losses.len() == 20 {
                    let mean = self.losses.drain(..).sum::<f32>() / 20.0;
                    println!("batches {} to {batch}: loss {mean:.2}", batch - 19);
                }
            }
            Event::Acted(Acted {
                action: Action::Recompute { .. },
                ..
            }) => self.recomputed += 1,
            _ => {}
        }
        Ok(())
    }
}

fn main() -> Result<(), stagger::Error> {
    let mut watch = Watch::default();
    Training::new()
        .schedule("dsp")
        .stages(2)
        .max_batches(80)
        .sink(&mut watch)
        .run()?;
    println!("{} passes were recomputed", watch.recomputed);
    Ok(())
}
