//! The optimizer and the learning rate of each stage: those of the run, as the schedule's corrections change them.

use std::sync::Arc;

use stagger_engine::{Optimizer, Precision};
use stagger_schedule::{ForwardWeights, Rescheduling, Schedule};

use crate::plan::Plan;

/// The optimizer that a stage runs with, where the run's is `optimizer`.
///
/// With `look-ahead` every stage has a momentum of its own and takes Nesterov's look-ahead
/// ([`LookAhead`](stagger_schedule::LookAhead)); with any other schedule it is the run's optimizer. The executors hand the
/// result to the function that builds the stage.
///
/// # Panics
/// When the schedule has no such stage.
#[must_use]
pub fn stage_optimizer(schedule: &Schedule, stage: usize, optimizer: &Optimizer) -> Optimizer {
    let mut own = optimizer.clone();
    if let Optimizer::Momentum { beta, nesterov, .. } = &mut own
        && let Some(momentum) = schedule.momentum(stage, *beta)
    {
        *beta = momentum;
        *nesterov = 1.0;
    }
    own
}

/// `β` of an optimizer that has one, else 0.
pub(crate) fn momentum(optimizer: &Optimizer) -> f64 {
    match optimizer {
        Optimizer::Momentum { beta, .. } => *beta,
        _ => 0.0,
    }
}

/// The learning rate of a stage.
pub(crate) struct StageRate {
    common: Arc<dyn Fn(usize) -> f64 + Send + Sync>,
    /// What the stage takes of the common rate. A lasting gradient moves it by `η / (1 − β)` per update, so a stage with a
    /// momentum of its own takes less, and moves as far.
    share: f64,
    rescheduling: Option<Rescheduling>,
    staleness: usize,
}

impl StageRate {
    pub fn new(plan: &Plan, stage: usize) -> Self {
        let base = momentum(&plan.optimizer);
        let own = plan.schedule.momentum(stage, base);
        Self {
            common: Arc::clone(&plan.learning_rate),
            share: own.map_or(1.0, |own| (1.0 - own) / (1.0 - base)),
            rescheduling: plan.schedule.corrections().rescheduling,
            staleness: plan.schedule.policy(stage).staleness,
        }
    }

    /// That of all stages, before any correction.
    pub fn common(&self, batch: usize) -> f64 {
        (self.common)(batch)
    }

    /// The stage's own.
    pub fn at(&self, batch: usize) -> f64 {
        let rate = self.common(batch) * self.share;
        match &self.rescheduling {
            Some(rescheduling) => rate * rescheduling.factor(self.staleness, batch),
            None => rate,
        }
    }
}

/// Why a schedule's corrections do not suit the rest of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectionError {
    /// `predict` and `look-ahead` move weights along the momentum.
    #[error(
        "`{schedule}` looks ahead along the momentum, which optimizer {optimizer} does not have"
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
    fn looking_ahead_gives_each_stage_a_momentum_of_its_own() {
        let of_stages = |notation: &str| {
            let schedule = schedule(notation);
            let momentum = |stage| match stage_optimizer(&schedule, stage, &heavy_ball()) {
                Optimizer::Momentum { beta, nesterov, .. } => (beta, nesterov),
                other => panic!("{other:?}"),
            };
            (0..3).map(momentum).collect::<Vec<_>>()
        };
        assert_eq!(of_stages("dsp"), [(0.9, 0.0); 3]);
        let found = of_stages("dsp + look-ahead(0.98)");
        for (found, expected) in found.iter().zip([0.98, 0.94, 0.9]) {
            assert!(
                (found.0 - expected).abs() < 1e-12 && found.1 == 1.0,
                "{found:?}"
            );
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
