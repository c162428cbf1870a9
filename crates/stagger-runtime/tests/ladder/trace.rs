//! What a run leaves behind.

use std::io::{self, Write};
use std::process;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use stagger_engine::StageState;
use stagger_runtime::{Acted, Event, EventError};

/// What a run leaves behind, in terms that do not depend on timing.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    pub losses: Vec<f32>,
    pub evaluations: Vec<f64>,
    /// Final parameters and buffers of each stage.
    pub states: Vec<StageState>,
    /// Greatest counted staleness of each stage.
    pub staleness: Vec<usize>,
}

impl Trace {
    pub fn new(stages: usize) -> Self {
        watch_for_hangs();
        let states = vec![StageState::default(); stages];
        Self {
            states,
            staleness: vec![0; stages],
            ..Self::default()
        }
    }

    pub fn take(&mut self, event: Event) -> Result<(), EventError> {
        match event {
            Event::Trained { batch, loss, .. } => {
                assert_eq!(batch, self.losses.len(), "each batch once and in order");
                self.losses.push(loss);
            }
            Event::Evaluated { loss, .. } => self.evaluations.push(loss),
            Event::Snapshot {
                stage, snapshot, ..
            } => self.states[stage] = snapshot.state.clone(),
            Event::Acted(Acted {
                stage,
                staleness: Some(found),
                ..
            }) => {
                self.staleness[stage] = self.staleness[stage].max(found);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Ends the test binary when it takes longer than any healthy machine needs, so that a run that hangs fails.
pub fn watch_for_hangs() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(300));
            let _ = writeln!(io::stderr(), "a run hangs: 300 s have passed");
            process::exit(101);
        });
    });
}
