//! The optimizer and its learning rate.

use anyhow::{Result, bail};
use stagger_engine::{Decay, LearningRate, Optimizer, Warmup, WeightDecay};

use super::low::TrainValues;

/// A value that nothing looks at is a misunderstanding.
pub(super) fn refuse_unused(values: &TrainValues) -> Result<()> {
    let optimizer = values.optimizer.as_deref().unwrap_or_default();
    let schedule = values.lr_schedule.as_deref().unwrap_or_default();
    for (flag, given, needs, right, found) in [
        (
            "--momentum",
            values.momentum.is_some(),
            "--optimizer",
            "momentum",
            optimizer,
        ),
        (
            "--nesterov",
            values.nesterov.is_some(),
            "--optimizer",
            "momentum",
            optimizer,
        ),
        (
            "--lr-steps",
            values.lr_steps.is_some(),
            "--lr-schedule",
            "step",
            schedule,
        ),
        (
            "--lr-gamma",
            values.lr_gamma.is_some(),
            "--lr-schedule",
            "step",
            schedule,
        ),
    ] {
        if given && found != right {
            bail!("{flag} does nothing with {needs} {found}; leave it out, or use {needs} {right}");
        }
    }
    Ok(())
}

pub(super) fn optimizer(values: &TrainValues) -> Result<Optimizer> {
    let rate = values.weight_decay.unwrap_or_default();
    let weight_decay = WeightDecay::everywhere(rate);
    let optimizer = match values.optimizer.as_deref().unwrap_or_default() {
        "sgd" => Optimizer::Sgd { weight_decay },
        "momentum" => Optimizer::Momentum {
            beta: values.momentum.unwrap_or_default(),
            nesterov: if values.nesterov == Some(true) {
                1.0
            } else {
                0.0
            },
            weight_decay,
        },
        "adamw" => Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: WeightDecay::matrices(rate),
        },
        other => bail!("there is no optimizer `{other}`; use sgd, momentum or adamw"),
    };
    optimizer.validate()?;
    Ok(optimizer)
}

/// Builds the learning-rate schedule and writes the values that follow from the length of the run
/// back to `values`.
pub(super) fn learning_rate(
    values: &mut TrainValues,
    epochs: usize,
    per_epoch: usize,
    batches: usize,
) -> Result<LearningRate> {
    let base = values.lr.unwrap_or_default();
    if !base.is_finite() || base <= 0.0 {
        bail!("--lr {base} is not a learning rate; give a number above 0, such as 0.1");
    }
    let warmup_batches = *values.warmup_batches.get_or_insert((batches / 10).min(200));
    let decay = match values.lr_schedule.as_deref().unwrap_or_default() {
        "constant" => Decay::Constant,
        "cosine" => Decay::Cosine { batches, last: 0.0 },
        "step" => {
            let steps = values
                .lr_steps
                .get_or_insert(vec![epochs / 2, epochs * 3 / 4]);
            if !steps.is_sorted() {
                bail!("--lr-steps must rise; give for example --lr-steps 80,120");
            }
            let factor = values.lr_gamma.unwrap_or_default();
            if !factor.is_finite() || factor <= 0.0 {
                bail!("--lr-gamma {factor} is not a factor; give a number above 0, such as 0.1");
            }
            Decay::Step {
                at: steps
                    .iter()
                    .map(|epoch| epoch.saturating_mul(per_epoch))
                    .collect(),
                factor,
            }
        }
        other => {
            bail!("there is no learning-rate schedule `{other}`; use constant, step or cosine")
        }
    };
    Ok(LearningRate {
        base,
        decay,
        warmup: Warmup {
            batches: warmup_batches,
            first: 0.0,
        },
    })
}
