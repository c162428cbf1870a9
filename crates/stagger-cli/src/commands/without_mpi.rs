//! One of several processes that a launcher has started, in a build without MPI.

use anyhow::anyhow;

use crate::failure::Failure;
use crate::launcher;

/// Refuses: the processes would not be connected.
pub fn refuse() -> Result<(), Failure> {
    let processes = launcher::processes();
    Err(anyhow!(
        "a launcher has started {processes} processes of stagger, and this stagger was built without MPI; build it with `{}`",
        launcher::BUILD
    )
    .into())
}
