//! The optimizer and its learning rate.

use stagger_engine::{Decay, LearningRate, Optimizer, Warmup, WeightDecay};
use stagger_model::Model;

use crate::error::Error;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, said_number};

/// A value that nothing looks at is a misunderstanding.
pub(super) fn refuse_unused(values: &TrainingOptions) -> Result<(), Refusal> {
    let optimizer = values.optimizer.as_deref().unwrap_or_default();
    let schedule = values.lr_schedule.as_deref().unwrap_or_default();
    let optimizers: [(_, _, &[&str], _); 3] = [
        (
            "momentum",
            values.momentum.is_some(),
            &["momentum", "lars"],
            "momentum or lars",
        ),
        (
            "nesterov",
            values.nesterov.is_some(),
            &["momentum"],
            "momentum",
        ),
        ("trust", values.trust.is_some(), &["lars"], "lars"),
    ];
    let with_last: &[&str] = &["cosine", "polynomial", "restarts"];
    let schedules: [(_, _, &[&str], _); 5] = [
        ("lr_steps", values.lr_steps.is_some(), &["step"], "step"),
        ("lr_gamma", values.lr_gamma.is_some(), &["step"], "step"),
        (
            "lr_last",
            values.lr_last.is_some(),
            with_last,
            "cosine, polynomial or restarts",
        ),
        (
            "lr_power",
            values.lr_power.is_some(),
            &["polynomial"],
            "polynomial",
        ),
        (
            "lr_restart",
            values.lr_restart.is_some(),
            &["restarts"],
            "restarts",
        ),
    ];
    let each = (optimizers
        .map(|it| (it, "optimizer", optimizer))
        .into_iter())
    .chain(schedules.map(|it| (it, "lr_schedule", schedule)));
    for ((option, given, fits, expected), beside, found) in each {
        if given && !fits.contains(&found) {
            return Err(Refusal::Unused {
                option,
                beside,
                found: found.to_owned(),
                expected,
            });
        }
    }
    if values.weight_decay_on.is_some() && values.weight_decay == Some(0.0) {
        return Err(Refusal::Unused {
            option: "weight_decay_on",
            beside: "weight_decay",
            found: "0".to_owned(),
            expected: "0.0005",
        });
    }
    Ok(())
}

pub(super) fn optimizer(values: &TrainingOptions) -> Result<Optimizer, Error> {
    let rate = values.weight_decay.unwrap_or_default();
    let weight_decay = match values.weight_decay_on.as_deref() {
        None | Some("all") => WeightDecay::everywhere(rate),
        Some("weights") => WeightDecay::matrices(rate),
        Some(other) => {
            return Err(Refusal::Choice {
                option: "weight_decay_on",
                found: other.to_owned(),
                expected: "all or weights",
            }
            .into());
        }
    };
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
            weight_decay,
        },
        "lars" => Optimizer::Lars {
            beta: values.momentum.unwrap_or_default(),
            trust: values.trust.unwrap_or_default(),
            weight_decay,
        },
        "lion" => Optimizer::lion(weight_decay),
        other => {
            return Err(Refusal::Unknown {
                kind: "optimizer",
                found: other.to_owned(),
                expected: "sgd, momentum, adamw, lars or lion",
            }
            .into());
        }
    };
    optimizer.validate()?;
    Ok(optimizer)
}

/// `keep` of the running mean of the weights.
pub(super) fn average(values: &TrainingOptions) -> Result<Option<f64>, Refusal> {
    match values.ema {
        Some(keep) if !(keep > 0.0 && keep < 1.0) => Err(Refusal::Value {
            option: "ema",
            found: said_number(keep),
            kind: "a share",
            expected: "a number above 0 and below 1, such as 0.999",
        }),
        keep => Ok(keep),
    }
}

/// Frozen stages and the rate of the head.
pub(super) fn check_fine_tuning(
    values: &TrainingOptions,
    model: &Model,
    stages: usize,
) -> Result<(), Refusal> {
    if let Some(found) = values.freeze_stages.filter(|found| *found >= stages) {
        return Err(Refusal::FreezeStages { found, stages });
    }
    if let Some(factor) = values.head_lr_factor {
        positive("head_lr_factor", factor, "a factor")?;
        if model.head().is_none() {
            let model = model.name.clone();
            return Err(Refusal::NoHead { model });
        }
    }
    Ok(())
}

/// Builds the learning-rate schedule and writes the values that follow from the length of the run
/// back to `values`.
pub(crate) fn learning_rate(
    values: &mut TrainingOptions,
    epochs: usize,
    per_epoch: usize,
    batches: usize,
) -> Result<LearningRate, Refusal> {
    let base = values.lr.unwrap_or_default();
    positive("lr", base, "a learning rate")?;
    let last = values.lr_last.unwrap_or_default();
    if !(0.0..=base).contains(&last) {
        return Err(Refusal::Value {
            option: "lr_last",
            found: said_number(last),
            kind: "a learning rate",
            expected: "a number from 0 to the peak learning rate",
        });
    }
    let is_one_cycle = values.lr_schedule.as_deref() == Some("one-cycle");
    let usual_warmup = match is_one_cycle {
        true => batches * 3 / 10,
        false => (batches / 10).min(200),
    };
    let warmup_batches = *values.warmup_batches.get_or_insert(usual_warmup);
    let decay = match values.lr_schedule.as_deref().unwrap_or_default() {
        "constant" => Decay::Constant,
        "cosine" => Decay::Cosine {
            from: warmup_batches,
            batches,
            last,
        },
        "polynomial" => {
            let power = values.lr_power.unwrap_or_default();
            positive("lr_power", power, "an exponent")?;
            Decay::Polynomial {
                from: warmup_batches,
                batches,
                power,
                last,
            }
        }
        "restarts" => {
            let (period, growth) = match values.lr_restart.as_deref() {
                // Two of them, to the end of the run.
                None => (batches.saturating_sub(warmup_batches).div_ceil(2).max(1), 1),
                Some(&[period]) if period > 0 => (period.saturating_mul(per_epoch), 1),
                Some(&[period, growth]) if period > 0 && growth > 0 => {
                    (period.saturating_mul(per_epoch), growth)
                }
                Some(numbers) => {
                    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
                    return Err(Refusal::Value {
                        option: "lr_restart",
                        found: numbers.join(","),
                        kind: "a length and a factor",
                        expected: "epochs and a factor, each at least 1, such as 10,2",
                    });
                }
            };
            Decay::Restarts {
                from: warmup_batches,
                period,
                growth,
                last,
            }
        }
        "one-cycle" => Decay::OneCycle {
            rise: warmup_batches.max(1),
            batches,
        },
        "step" => {
            let steps = values
                .lr_steps
                .get_or_insert(vec![epochs / 2, epochs * 3 / 4]);
            if !steps.is_sorted() {
                return Err(Refusal::LrSteps);
            }
            let factor = values.lr_gamma.unwrap_or_default();
            positive("lr_gamma", factor, "a factor")?;
            if !(base * factor.powf(steps.len() as f64)).is_finite() {
                return Err(Refusal::Value {
                    option: "lr_gamma",
                    found: said_number(factor),
                    kind: "a factor by which the learning rate stays finite",
                    expected: "a smaller one, such as 0.1",
                });
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
            return Err(Refusal::Unknown {
                kind: "learning-rate schedule",
                found: other.to_owned(),
                expected: "constant, step, cosine, restarts, polynomial or one-cycle",
            });
        }
    };
    Ok(LearningRate {
        base,
        decay,
        warmup: Warmup {
            // One cycle begins with a way up of its own.
            batches: if is_one_cycle { 0 } else { warmup_batches },
            first: 0.0,
        },
    })
}

fn positive(option: &'static str, value: f64, kind: &'static str) -> Result<(), Refusal> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Refusal::Value {
        option,
        found: said_number(value),
        kind,
        expected: "a number above 0, such as 0.1",
    })
}
