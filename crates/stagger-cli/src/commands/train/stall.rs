//! Ending a process whose run hangs.

use std::process;
use std::thread;
use std::time::Duration;

use stagger::Stalled;
use stagger::report::DiskStall;
use stagger::runtime::EventError;

use crate::terminal;

/// How long a stage that hangs may keep its thread. The run waits for all threads.
const GRACE: Duration = Duration::from_secs(5);

/// Ends the process after a while, unless the run has ended by then and says how itself.
pub fn end_after_a_while(stalled: Stalled) -> Result<(), EventError> {
    end_with(stalled, || process::exit(1))
}

/// The same, by calling `end`.
pub fn end_with(stalled: Stalled, end: impl FnOnce() + Send + 'static) -> Result<(), EventError> {
    let wait = move || {
        thread::sleep(GRACE);
        if stalled.has_ended() {
            return;
        }
        let sentence = format!("error: {}", stalled.stall);
        terminal::say(&sentence);
        if let Some(log) = &stalled.log {
            let _ = log.line(&sentence);
        }
        end();
    };
    thread::Builder::new()
        .name("grace".to_owned())
        .spawn(wait)?;
    Ok(())
}

/// Ends a process whose disk does not answer, by calling `end`: every thread that writes may hang.
pub fn end_at_once(stalled: &DiskStall, end: impl FnOnce()) {
    terminal::say(&format!(
        "error: {stalled}; once it answers again, go on with --resume"
    ));
    end();
}
