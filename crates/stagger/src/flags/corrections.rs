//! Whether a schedule's corrections go with the rest of a run.

use anyhow::{Result, bail};
use stagger_engine::{Optimizer, Precision};
use stagger_runtime::{CorrectionError, check_corrections};
use stagger_schedule::Schedule;

/// Checks that corrections suit optimizer and precision.
///
/// # Errors
/// One sentence on what does not suit, and the flag that helps.
pub fn check(schedule: &Schedule, optimizer: &Optimizer, precision: Precision) -> Result<()> {
    let Err(error) = check_corrections(schedule, optimizer, precision) else {
        return Ok(());
    };
    match error {
        CorrectionError::NoMomentum { .. } => bail!("{error}; use --optimizer momentum"),
        CorrectionError::RoundedWeights { .. } => {
            bail!("{error}; use --dtype f32, or leave gap-aware out")
        }
        _ => bail!("{error}"),
    }
}
