//! Whether a schedule's corrections go with the rest of a run.

use anyhow::{Result, bail};
use stagger_engine::{Optimizer, Precision};
use stagger_schedule::{ForwardWeights, Schedule};

/// Corrections that look along the momentum need one; damping needs to know the weights it measures from.
///
/// # Errors
/// One sentence on what does not fit.
pub fn check(schedule: &Schedule, optimizer: &Optimizer, precision: Precision) -> Result<()> {
    let corrections = schedule.corrections();
    let policies = schedule.policies();
    let mut weights = policies.iter().map(|policy| policy.forward_weights);
    if corrections.damping.is_some()
        && precision != Precision::F32
        && weights.any(|weights| weights != ForwardWeights::Current)
    {
        bail!(
            "`{schedule}` measures how far weights move from those of the forward, which are known to {precision} only; use \
             --dtype f32, or leave gap-aware out"
        );
    }
    let needs = corrections.prediction.is_some() || corrections.look_ahead.is_some();
    if needs && !matches!(optimizer, Optimizer::Momentum { .. }) {
        bail!(
            "`{schedule}` looks ahead along the momentum, which optimizer {} does not have; use --optimizer momentum",
            optimizer.name()
        );
    }
    Ok(())
}
