//! When a run ends, and what is due until then.

use std::time::Duration;

use stagger_schedule::Horizon;

use crate::options::TrainingOptions;
use crate::refusal::{Refusal, said_number};

/// Far above any real run; the marks of every epoch are kept in memory.
const MAX_EPOCHS: usize = 1_000_000;

pub(super) fn time_limit(seconds: f64) -> Result<Duration, Refusal> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => Err(Refusal::Value {
            option: "max_seconds",
            found: said_number(seconds),
            kind: "a duration",
            expected: "a number above 0 and below 1e19, such as 60",
        }),
    }
}

/// Goals need evaluations, and have to be within reach.
pub(super) fn check_goals(options: &TrainingOptions) -> Result<(), Refusal> {
    for (option, given) in [
        ("target", options.target.is_some()),
        ("patience", options.patience.is_some()),
    ] {
        // Of an emulated run another sentence says why.
        if given && options.evaluate == Some(false) && options.emulate.is_none() {
            return Err(Refusal::Unused {
                option,
                beside: "evaluate",
                found: "false".to_owned(),
                expected: "true",
            });
        }
    }
    if options.patience == Some(0) {
        return Err(Refusal::Zero { option: "patience" });
    }
    match options.target {
        Some(target) if !(target > 0.0 && target <= 100.0) => Err(Refusal::Value {
            option: "target",
            found: said_number(target),
            kind: "an accuracy",
            expected: "percent above 0 and up to 100, such as 84",
        }),
        _ => Ok(()),
    }
}

pub(super) fn stall_timeout(options: &TrainingOptions) -> Result<Option<Duration>, Refusal> {
    let seconds = options.stall_timeout.unwrap_or_default();
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) => Ok((!timeout.is_zero()).then_some(timeout)),
        Err(_) => Err(Refusal::Value {
            option: "stall_timeout",
            found: said_number(seconds),
            kind: "a duration",
            expected: "a number of seconds below 1e19, or 0 for none",
        }),
    }
}

/// Evaluates and snapshots after every epoch and at the end.
pub(super) fn horizon(
    per_epoch: usize,
    epochs: usize,
    max_batches: Option<usize>,
) -> Result<Horizon, Refusal> {
    if epochs > MAX_EPOCHS {
        return Err(Refusal::AboveMost {
            option: "epochs",
            found: epochs,
            most: MAX_EPOCHS,
        });
    }
    let planned = per_epoch.saturating_mul(epochs);
    let batches = planned.min(max_batches.unwrap_or(planned));
    let mut marks: Vec<usize> = (1..=batches / per_epoch)
        .map(|epoch| epoch * per_epoch)
        .collect();
    if marks.last() != Some(&batches) {
        marks.push(batches);
    }
    Ok(Horizon {
        batches,
        evaluate_at: marks.clone(),
        snapshot_at: marks,
        ..Horizon::default()
    })
}
