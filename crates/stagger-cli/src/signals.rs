//! What the process does with signals and panics while it trains.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use stagger::Interrupt;
#[cfg(unix)]
use stagger::data::foreign;

#[cfg(feature = "tui")]
use crate::screen;
#[cfg(unix)]
use crate::terminal;

/// Whether nothing has been written yet that a signal could leave half done.
static IS_BEGINNING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Until the run listens itself, signals that would end it end the process at once, with the status of an interrupted run, and one
/// that asks for a snapshot does nothing. To be called first in `main`.
pub fn end_at_once() {
    IS_BEGINNING.store(true, Ordering::SeqCst);
    for &signal in ending() {
        // Where the system does not allow it, it ends the process itself.
        let _ = flag::register_conditional_shutdown(signal, 130, Arc::clone(&IS_BEGINNING));
    }
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGUSR1, SIGXCPU};

        let _ = flag::register_conditional_shutdown(SIGXCPU, 130, Arc::clone(&IS_BEGINNING));
        let _ = flag::register(SIGUSR1, Arc::default());
    }
}

/// Limits of the system that would end the process without a word: a write past the limit on the size of files fails instead, and
/// the error names the file. To be called first in `main`.
pub fn outlive_limits() {
    // Where the system does not allow it, it ends the process itself.
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// A command that keeps nothing ends with a sentence when its processor time is up, and not by the signal. To be called first in
/// `main`.
pub fn tell_of_processor_time() {
    // Where the system does not allow it, it ends the process itself.
    #[cfg(unix)]
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGXCPU]) {
        let wait = move || {
            if signals.forever().next().is_some() {
                terminal::say(
                    "error: the limit on processor time is reached; raise it (ulimit -t)",
                );
                std::process::exit(1);
            }
        };
        let name = "signals".to_owned();
        let _ = std::thread::Builder::new().name(name).spawn(wait);
    }
}

/// From here on a signal is for those who have registered for it.
pub fn has_begun() {
    IS_BEGINNING.store(false, Ordering::SeqCst);
}

/// The first Ctrl-C (or request to terminate, warning of a scheduler by SIGUSR2, closed terminal) halts the run at a version; the
/// second ends it at once. So does the first warning that the limit on processor time is near, and as the system repeats it every
/// second, the others do nothing. SIGUSR1 has a snapshot taken, and the run goes on. Other signals are left alone, and so is that of a
/// closed terminal under `nohup`.
pub fn listen_for_interrupts(interrupt: &Interrupt) -> Result<()> {
    // Of its own: another rank, or a time limit, may have asked for the halt before the first signal comes.
    let was_signalled = Arc::new(AtomicBool::new(false));
    for &signal in ending() {
        // The order matters: the first signal finds the flag down and only raises it.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&was_signalled))
            .and_then(|_| flag::register(signal, Arc::clone(&was_signalled)))
            .and_then(|_| flag::register(signal, interrupt.flag()))
            .context("cannot listen for Ctrl-C")?;
    }
    listen_for_limits_and_snapshots(interrupt)?;
    has_begun();
    Ok(())
}

/// The same where the terminal is a screen, which has to be given back before the second signal ends the process.
#[cfg(feature = "tui")]
pub fn listen_on_screen(interrupt: &Interrupt) -> Result<()> {
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new(ending()).context("cannot listen for signals")?;
    let interrupt_of_signals = interrupt.clone();
    let wait = move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                screen::restore();
                std::process::exit(130);
            }
            interrupt_of_signals.request();
        }
    };
    let name = "signals".to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(wait);
    thread.context("cannot listen for signals")?;
    listen_for_limits_and_snapshots(interrupt)?;
    has_begun();
    Ok(())
}

/// What halts a run or has a snapshot taken, however often it comes.
fn listen_for_limits_and_snapshots(interrupt: &Interrupt) -> Result<()> {
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGUSR1, SIGXCPU};

        flag::register(SIGXCPU, interrupt.flag()).context("cannot listen for SIGXCPU")?;
        flag::register(SIGUSR1, interrupt.snapshot_flag()).context("cannot listen for SIGUSR1")?;
    }
    #[cfg(not(unix))]
    let _ = interrupt;
    Ok(())
}

/// Raises this when a signal asks the process to end. A second one ends it at once.
#[cfg(feature = "tui")]
pub fn raise_when_ended(stop: &Arc<AtomicBool>) -> Result<()> {
    for &signal in ending() {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(stop))
            .context("cannot listen for signals")?;
        flag::register(signal, Arc::clone(stop)).context("cannot listen for signals")?;
    }
    Ok(())
}

/// Signals that end a run.
#[cfg(not(unix))]
pub fn ending() -> &'static [i32] {
    &[SIGINT, SIGTERM]
}

/// Signals that end a run.
#[cfg(unix)]
pub fn ending() -> &'static [i32] {
    use signal_hook::consts::{SIGHUP, SIGUSR2};

    const ALL: [i32; 4] = [SIGINT, SIGTERM, SIGUSR2, SIGHUP];
    match is_ignored(SIGHUP) {
        true => &ALL[..3],
        false => &ALL,
    }
}

/// Whether this process was started with a signal ignored, as far as the system tells.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = foreign::system_text("/proc/self/status".as_ref()).unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
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
