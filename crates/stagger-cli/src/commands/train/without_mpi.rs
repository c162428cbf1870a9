//! `stagger train` as one of several processes, in a build without MPI.

use anyhow::anyhow;

use crate::failure::Failure;
use crate::flags::TrainArgs;
use crate::launcher;

/// Refuses: each process would train the whole model on its own.
pub fn run(_arguments: TrainArgs) -> Result<(), Failure> {
    let processes = launcher::processes();
    Err(anyhow!(
        "a launcher has started {processes} processes of stagger, and this stagger was built without MPI; build it with `{}`",
        launcher::BUILD
    )
    .into())
}
