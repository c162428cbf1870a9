//! Notices a disk that does not answer: a write or a flush that hangs holds up the thread that would say so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stagger_data::shown_path;

/// How many times it looks within its timeout.
const LOOKS: u32 = 20;

/// Calls to the disk that have not returned.
static PENDING: Mutex<Pending> = Mutex::new(Pending {
    last: 0,
    calls: Vec::new(),
});

#[derive(Debug)]
struct Pending {
    /// The number of the last call.
    last: u64,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    number: u64,
    doing: &'static str,
    path: PathBuf,
    /// How often a watch has found it.
    looks: u32,
}

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a call to the disk that a [`DiskWatch`] sees. `doing` is a verb: `write`.
pub(crate) fn during<R>(doing: &'static str, path: &Path, call: impl FnOnce() -> R) -> R {
    let number = {
        let mut pending = pending();
        pending.last += 1;
        let number = pending.last;
        pending.calls.push(Call {
            number,
            doing,
            path: path.to_owned(),
            looks: 0,
        });
        number
    };
    let _pending = Returned(number);
    call()
}

struct Returned(u64);

impl Drop for Returned {
    fn drop(&mut self) {
        pending().calls.retain(|call| call.number != self.0);
    }
}

/// A call to the disk that does not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskStall {
    /// What is attempted, as a verb: `write`.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// For how long.
    pub quiet: Duration,
}

impl fmt::Display for DiskStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the disk has not answered for {:.0} s: the run waits for it to {} {}; what was written before stays",
            self.quiet.as_secs_f64(),
            self.doing,
            shown_path(&self.path)
        )
    }
}

/// Watches the writing of all runs in this process, until it is dropped.
#[derive(Debug)]
pub struct DiskWatch {
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// Calls `on_stall` once, from a thread of its own, if a call takes longer than `timeout`. Time in which the whole process is
    /// stopped does not count.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        timeout: Duration,
        on_stall: impl FnOnce(DiskStall) + Send + 'static,
    ) -> io::Result<Self> {
        let (ends, ended) = channel::<()>();
        let watch = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(timeout / LOOKS) {
                if let Some(stall) = look(timeout) {
                    return on_stall(stall);
                }
            }
        };
        let thread = thread::Builder::new().name("disk-watch".to_owned());
        Ok(Self {
            ends: Some(ends),
            thread: Some(thread.spawn(watch)?),
        })
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.ends.take();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Counts one look at every call, and gives the one that has been seen in all of them.
fn look(timeout: Duration) -> Option<DiskStall> {
    let mut pending = pending();
    let mut stalled = None;
    for call in &mut pending.calls {
        call.looks += 1;
        if call.looks > LOOKS && stalled.is_none() {
            stalled = Some(DiskStall {
                doing: call.doing,
                path: call.path.clone(),
                quiet: timeout,
            });
        }
    }
    stalled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_named() {
        let (told, hears) = channel();
        let watch = DiskWatch::start(Duration::from_millis(40), move |stall| {
            told.send(stall).unwrap();
        });
        // Calls that return are none of its business.
        for _ in 0..100 {
            during("write", Path::new("quick"), || ());
        }
        let stall = during("flush", Path::new("runs/a/metrics.jsonl"), || {
            hears.recv().unwrap()
        });
        assert_eq!(
            stall.to_string(),
            "the disk has not answered for 0 s: the run waits for it to flush runs/a/metrics.jsonl; what was written before stays"
        );
        drop(watch);
    }

    #[test]
    fn a_watch_ends_with_its_run() {
        let unexpected = |stall: DiskStall| panic!("{stall}");
        drop(DiskWatch::start(Duration::from_secs(3600), unexpected).unwrap());
    }
}
