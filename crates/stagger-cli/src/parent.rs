//! Runs that end with the process that has started them, however that ends.

use std::process::Command;

/// Names the process that a run belongs to.
#[cfg(target_os = "linux")]
const VARIABLE: &str = "STAGGER_RUN_OF";

/// Has the process that this starts [end](end_with) with this one. Only Linux tells a process that its parent is gone.
#[cfg(target_os = "linux")]
pub fn bind(command: &mut Command) {
    command.env(VARIABLE, std::process::id().to_string());
}

#[cfg(not(target_os = "linux"))]
pub fn bind(_: &mut Command) {}

/// Where this process is a run of a series, the end of that one is a request to terminate, as if the user had asked for it. To be called
/// first in `main`, when such a request is heard already. Gives whether that one is gone.
#[cfg(target_os = "linux")]
pub fn end_with() -> bool {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    let Some(parent) = std::env::var(VARIABLE).ok() else {
        return false;
    };
    // A system that refuses leaves the run as it would be elsewhere.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    // The parent may have ended before this call, and another process has taken its place.
    let found = getppid().map(Pid::as_raw_pid);
    parent.parse().ok() != found
}

#[cfg(not(target_os = "linux"))]
pub fn end_with() -> bool {
    false
}
