//! What is said of a pipeline in which nothing moves, and what becomes of its process.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use stagger_runtime::Stall;

use super::journal::Journal;

/// So long a stage that hangs has to let go of its thread. The run waits for all threads.
const GRACE: Duration = Duration::from_secs(5);

/// Sees to it that the process ends, unless the run does.
#[derive(Clone, Default)]
pub struct Grace {
    has_ended: Arc<AtomicBool>,
}

impl Grace {
    /// Shows what each stage did last, and waits in the background.
    pub fn begin(&self, stall: &Stall, journal: &Journal) -> Result<()> {
        journal.say(stall.grid.trim_end())?;
        let sentence = format!("error: {stall}");
        let (grace, log) = (self.clone(), journal.log.clone());
        thread::Builder::new()
            .name("grace".to_owned())
            .spawn(move || {
                thread::sleep(GRACE);
                if grace.has_ended.load(Ordering::Acquire) {
                    return;
                }
                eprintln!("{sentence}");
                let _ = log.line(&sentence);
                process::exit(1);
            })?;
        Ok(())
    }

    /// The run has ended, and says how itself.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }
}
