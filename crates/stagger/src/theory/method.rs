//! What the theorems of docs/theory.md are about.

use stagger_engine::Optimizer;
use stagger_plan::theory::Momentum;
use stagger_runtime::Replicas;
use stagger_schedule::{Convergence, Schedule};

use super::error::TheoryError;
use crate::job;
use crate::options::TrainingOptions;

/// Refuses what the options alone say of method, optimizer and replicas. What of it is no notation, or does not suit each other, is told
/// where the run is prepared.
///
/// # Errors
/// [`TheoryError::Method`], [`TheoryError::Optimizer`], [`TheoryError::Replicas`].
pub(super) fn check(said: &TrainingOptions) -> Result<(), TheoryError> {
    let defaults = TrainingOptions::defaults();
    if said.optimizer.as_deref() == Some("adamw") {
        return Err(TheoryError::Optimizer { found: "adamw" });
    }
    let text = said.schedule.as_ref().or(defaults.schedule.as_ref());
    let text = text.map(String::as_str).unwrap_or_default();
    let schedule = match (Schedule::parse(text, None), said.stages) {
        (Ok(schedule), None) => Ok(schedule),
        (_, stages) => Schedule::parse(text, stages.or(defaults.stages)),
    };
    let Ok(schedule) = schedule else {
        return Ok(());
    };
    convergence(&schedule)?;
    match job::replicas(said.replicas.as_deref(), &schedule) {
        Ok(replicas) => refuse_replicas(&replicas),
        Err(_) => Ok(()),
    }
}

/// How the theorems apply to a method.
///
/// # Errors
/// [`TheoryError::Method`].
pub(super) fn convergence(schedule: &Schedule) -> Result<Convergence, TheoryError> {
    Convergence::of(schedule).map_err(|why| TheoryError::Method {
        schedule: schedule.to_string(),
        why,
    })
}

/// The momentum of an optimizer; that of SGD is 0.
///
/// # Errors
/// [`TheoryError::Optimizer`].
pub(super) fn momentum(optimizer: &Optimizer) -> Result<Momentum, TheoryError> {
    match *optimizer {
        Optimizer::Sgd { .. } => Ok(Momentum::default()),
        Optimizer::Momentum { beta, nesterov, .. } => Ok(Momentum { beta, nesterov }),
        Optimizer::AdamW { .. } | Optimizer::Lars { .. } | Optimizer::Lion { .. } => {
            Err(TheoryError::Optimizer {
                found: optimizer.name(),
            })
        }
    }
}

/// # Errors
/// [`TheoryError::Replicas`].
pub(super) fn refuse_replicas(replicas: &Replicas) -> Result<(), TheoryError> {
    match replicas.any() {
        true => Err(TheoryError::Replicas {
            found: replicas.to_string(),
        }),
        false => Ok(()),
    }
}
