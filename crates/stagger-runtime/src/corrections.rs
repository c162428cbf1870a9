//! Whether a schedule's corrections suit the rest of a run.

use stagger_engine::{Optimizer, Precision};
use stagger_schedule::{ForwardWeights, Schedule};

/// Why a schedule's corrections do not suit the rest of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectionError {
    /// `predict` and `look-ahead` move weights along the momentum.
    #[error(
        "`{schedule}` looks ahead by the formulas of optimizer momentum, and the run has optimizer {optimizer}"
    )]
    NoMomentum {
        /// The schedule's notation.
        schedule: String,
        /// The optimizer's name.
        optimizer: &'static str,
    },
    /// `gap-aware` measures the distance from the weights of the forward. Where those are not the current ones, only their
    /// rounded copies exist.
    #[error(
        "`{schedule}` measures how far weights move from those of the forward, which are known to {precision} only"
    )]
    RoundedWeights {
        /// The schedule's notation.
        schedule: String,
        /// The precision of the weights.
        precision: Precision,
    },
}

/// Checks that the schedule's corrections suit optimizer and precision.
///
/// # Errors
/// The first that does not.
pub fn check_corrections(
    schedule: &Schedule,
    optimizer: &Optimizer,
    precision: Precision,
) -> Result<(), CorrectionError> {
    let policies = schedule.policies();
    let mut weights = policies.iter().map(|policy| policy.forward_weights);
    if schedule.corrections().damping.is_some()
        && precision != Precision::F32
        && weights.any(|weights| weights != ForwardWeights::Current)
    {
        return Err(CorrectionError::RoundedWeights {
            schedule: schedule.to_string(),
            precision,
        });
    }
    check_momentum(schedule, optimizer)
}

/// The part of the check that a plan can make: it does not know the precision.
pub(crate) fn check_momentum(
    schedule: &Schedule,
    optimizer: &Optimizer,
) -> Result<(), CorrectionError> {
    let corrections = schedule.corrections();
    let needs_momentum = corrections.prediction.is_some() || corrections.look_ahead.is_some();
    if needs_momentum && !matches!(optimizer, Optimizer::Momentum { .. }) {
        return Err(CorrectionError::NoMomentum {
            schedule: schedule.to_string(),
            optimizer: optimizer.name(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stagger_engine::WeightDecay;

    use super::*;

    fn schedule(notation: &str) -> Schedule {
        Schedule::parse(notation, Some(3)).unwrap()
    }

    fn heavy_ball() -> Optimizer {
        Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::default(),
        }
    }

    fn sgd() -> Optimizer {
        Optimizer::Sgd {
            weight_decay: WeightDecay::default(),
        }
    }

    #[test]
    fn corrections_that_do_not_suit_the_run_are_refused() {
        for notation in ["dsp + predict", "dsp + look-ahead"] {
            let schedule = schedule(notation);
            assert_eq!(
                check_corrections(&schedule, &heavy_ball(), Precision::F32),
                Ok(())
            );
            let refused = check_corrections(&schedule, &sgd(), Precision::F32).unwrap_err();
            assert!(
                matches!(refused, CorrectionError::NoMomentum { .. }),
                "{refused}"
            );
        }
        let damped = schedule("dsp + predict + gap-aware");
        let refused = check_corrections(&damped, &heavy_ball(), Precision::Bf16).unwrap_err();
        assert!(
            matches!(refused, CorrectionError::RoundedWeights { .. }),
            "{refused}"
        );
        assert_eq!(
            check_corrections(&damped, &heavy_ball(), Precision::F32),
            Ok(())
        );
        let current = schedule("dsp + gap-aware");
        assert_eq!(check_corrections(&current, &sgd(), Precision::Bf16), Ok(()));
    }
}
