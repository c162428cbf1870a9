//! The optimizer and the learning rate of each stage: those of the run, as the schedule's corrections change them.

use std::sync::Arc;

use stagger_engine::{EngineError, Optimizer};
use stagger_schedule::{Rescheduling, Schedule};

use crate::corrections::check_momentum;
use crate::fault::Fault;
use crate::plan::Plan;
use stagger_schedule::Place;

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

/// Builds the stage of a place with its optimizer.
///
/// # Errors
/// When the schedule's corrections do not suit the optimizer, or the stage cannot be built.
pub(crate) fn build_stage<S>(
    plan: &Plan,
    place: Place,
    build: impl Fn(Place, Optimizer) -> Result<S, EngineError>,
) -> Result<S, Fault> {
    check_momentum(&plan.schedule, &plan.optimizer)?;
    let optimizer = stage_optimizer(&plan.schedule, place.stage, &plan.optimizer);
    Ok(build(place, optimizer)?)
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
}
