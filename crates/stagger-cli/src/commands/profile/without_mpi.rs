//! `stagger profile` as one of several processes, in a build without MPI.

use crate::commands::ranks;
use crate::failure::Failure;
use crate::flags::ProfileArgs;

/// Refuses: each process would measure the whole model on its own.
pub fn run(_arguments: &ProfileArgs) -> Result<(), Failure> {
    ranks::refuse()
}
