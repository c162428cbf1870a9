//! `stagger train` as one of several processes, in a build without MPI.

use crate::commands::ranks;
use crate::failure::Failure;
use crate::flags::TrainArgs;

/// Refuses: each process would train the whole model on its own.
pub fn run(_arguments: TrainArgs) -> Result<(), Failure> {
    ranks::refuse()
}
