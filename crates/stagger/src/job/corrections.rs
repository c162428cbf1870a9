//! Whether a schedule's corrections go with the rest of a run.

use stagger_engine::{Optimizer, Precision};
use stagger_runtime::check_corrections;
use stagger_schedule::Schedule;

use crate::refusal::Refusal;

/// Corrections that look along the momentum need one; damping needs to know the weights it measures from.
///
/// # Errors
/// [`Refusal::Corrections`].
pub fn check(
    schedule: &Schedule,
    optimizer: &Optimizer,
    precision: Precision,
) -> Result<(), Refusal> {
    check_corrections(schedule, optimizer, precision).map_err(Refusal::Corrections)
}
