//! What the process does with signals and panics while it trains.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use stagger::Interrupt;

/// The first Ctrl-C (or termination request) halts the run at a version; the second ends it at once. Other
/// signals are left alone: under `nohup`, a closed terminal does not end a run.
pub fn listen_for_interrupts(interrupt: &Interrupt) -> Result<()> {
    // Of its own: another rank, or a time limit, may have asked for the halt before the first signal comes.
    let was_signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag down and only raises it.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&was_signalled))
            .and_then(|_| flag::register(signal, Arc::clone(&was_signalled)))
            .and_then(|_| flag::register(signal, interrupt.flag()))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(())
}

/// A panic of a stage or a loader becomes the run's error, which says all that the usual message would.
pub fn quiet_panics_of_workers() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let is_worker = |name: &str| name.starts_with("stage-") || name.starts_with("loader-");
        if !thread.name().is_some_and(is_worker) {
            usual(info);
        }
    }));
}
