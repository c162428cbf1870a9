//! One run as a process of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use stagger::data::{foreign, shown_path};
use stagger::report::compare::error_file;

use crate::{parent, signals};

/// Interval at which the process and the interrupts are polled.
const POLL: Duration = Duration::from_millis(20);

/// What to start.
#[derive(Debug)]
pub struct ChildRun {
    /// Arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// Its run folder.
    pub folder: PathBuf,
    /// A lock that lives as long as the process, even if this one dies.
    pub lock: File,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with success or not.
    Ended,
    /// By an interrupt.
    Interrupted,
}

/// Runs a job to its end. What it says goes to its own log; if it fails, its last words go to the error file beside its
/// folder. An interrupt is passed on.
pub fn run(job: ChildRun, interrupts: &mut Interrupts) -> Result<End> {
    let said = error_file(&job.folder);
    let stderr = foreign::create_anew(&said)
        .with_context(|| format!("could not create {}", shown_path(&said)))?;
    let program = std::env::current_exe().context("could not find the program of this process")?;
    let mut command = Command::new(program);
    command
        .args(&job.arguments)
        .stdin(job.lock)
        .stdout(Stdio::null())
        .stderr(stderr);
    apart(&mut command);
    parent::bind(&mut command);
    let mut child = command.spawn().context("could not start a run")?;
    // The child has its own handles of the lock and the error file by now.
    drop(command);
    let mut end = End::Ended;
    let status = loop {
        for _ in 0..interrupts.take() {
            end = End::Interrupted;
            pass_on(&mut child);
        }
        match child.try_wait().context("could not wait for a run")? {
            Some(status) => break status,
            None => sleep(POLL),
        }
    };
    last_words(&said, status)?;
    Ok(end)
}

/// Of a run that ended well, nothing is kept but its folder.
fn last_words(said: &Path, status: ExitStatus) -> Result<()> {
    let context = || format!("could not keep {}", shown_path(said));
    if status.success() {
        fs::remove_file(said).with_context(context)
    } else if fs::metadata(said).with_context(context)?.len() == 0 {
        let words = format!("the run ended with {status}; its log may say more\n");
        let mut file = foreign::append(said).with_context(context)?;
        file.write_all(words.as_bytes()).with_context(context)
    } else {
        Ok(())
    }
}

/// Ctrl-C on a terminal goes to a whole group of processes. The run gets it from this process alone, once.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

/// The run halts after the first, and ends at once after the second.
#[cfg(unix)]
fn pass_on(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};

    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // A process that is gone by now needs no signal.
    let _ = pid.map(|pid| kill_process(pid, Signal::INT));
}

/// The system has told it already.
#[cfg(not(unix))]
fn pass_on(_: &mut Child) {}

/// Ctrl-C and the other signals that end a run.
#[derive(Debug)]
pub struct Interrupts {
    #[cfg(unix)]
    signals: signal_hook::iterator::Signals,
    /// The system repeats this every second.
    #[cfg(unix)]
    is_out_of_time: bool,
    #[cfg(not(unix))]
    raised: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Interrupts {
    /// From now on they no longer end this process.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn listen() -> Result<Self> {
        let context = "cannot listen for Ctrl-C";
        #[cfg(unix)]
        let listening = Self {
            signals: signal_hook::iterator::Signals::new(
                signals::ending()
                    .iter()
                    .chain([&signal_hook::consts::SIGXCPU]),
            )
            .context(context)?,
            is_out_of_time: false,
        };
        #[cfg(not(unix))]
        let listening = {
            let raised = std::sync::Arc::default();
            for &signal in signals::ending() {
                signal_hook::flag::register(signal, std::sync::Arc::clone(&raised))
                    .context(context)?;
            }
            Self { raised }
        };
        signals::has_begun();
        Ok(listening)
    }

    /// How many came since the last look.
    pub fn take(&mut self) -> usize {
        #[cfg(unix)]
        {
            let mut count = 0;
            for signal in self.signals.pending() {
                let is_warning = signal == signal_hook::consts::SIGXCPU;
                if !(is_warning && std::mem::replace(&mut self.is_out_of_time, true)) {
                    count += 1;
                }
            }
            count
        }
        #[cfg(not(unix))]
        {
            usize::from(
                self.raised
                    .swap(false, std::sync::atomic::Ordering::Relaxed),
            )
        }
    }
}
