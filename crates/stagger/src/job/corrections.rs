//! Whether a schedule's corrections go with the rest of a run.

use stagger_engine::{Optimizer, Precision};
use stagger_schedule::{ForwardWeights, Schedule};

use crate::refusal::Refusal;

/// Corrections that look along the momentum need one; damping needs to know the weights it measures from.
///
/// # Errors
/// [`Refusal::DampingFormat`] or [`Refusal::NoMomentum`].
pub fn check(
    schedule: &Schedule,
    optimizer: &Optimizer,
    precision: Precision,
) -> Result<(), Refusal> {
    let corrections = schedule.corrections();
    let policies = schedule.policies();
    let mut weights = policies.iter().map(|policy| policy.forward_weights);
    if corrections.damping.is_some()
        && precision != Precision::F32
        && weights.any(|weights| weights != ForwardWeights::Current)
    {
        return Err(Refusal::DampingFormat {
            schedule: schedule.to_string(),
            found: precision,
        });
    }
    let needs = corrections.prediction.is_some() || corrections.look_ahead.is_some();
    if needs && !matches!(optimizer, Optimizer::Momentum { .. }) {
        return Err(Refusal::NoMomentum {
            schedule: schedule.to_string(),
            found: optimizer.name(),
        });
    }
    Ok(())
}
