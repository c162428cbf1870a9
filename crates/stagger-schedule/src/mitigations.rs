//! Mitigations of staleness: what the notation adds to a method behind plus signs.

use crate::corrections::{Damping, LookAhead, Prediction, Rescheduling, Shrinking};
use crate::notation::{Arguments, Call, Fault};
use crate::{
    BackwardWeights, Corrections, ForwardWeights, MAX_MICRO_BATCHES, NotationProblem, Schedule,
};

/// Batches over which learning rates are annealed unless the notation says otherwise. Our choice.
pub(crate) const ANNEAL_BATCHES: usize = 2000;

/// Most batches over which learning rates are annealed.
pub(crate) const MAX_ANNEAL_BATCHES: usize = 1_000_000_000;

/// The largest momentum of `look-ahead` unless the notation says otherwise. Our choice.
const LARGEST_MOMENTUM: f64 = 0.99;

/// How the notation reaches a mitigation.
struct Mitigation {
    /// The name, in lower case.
    name: &'static str,
    /// Whether it is there already.
    is_in: fn(&Schedule) -> bool,
    /// Why it makes no sense in a schedule, if so.
    refused: fn(&Schedule) -> Option<String>,
    /// Adds it with these arguments.
    add: fn(&Arguments, &mut Schedule) -> Result<(), Fault>,
}

/// Every mitigation that the notation knows, in the order in which it prints them.
const REGISTRY: &[Mitigation] = &[
    Mitigation {
        name: "accumulate",
        is_in: |schedule| schedule.accumulated > 1,
        refused: |schedule| schedule.method.accumulation_refused(),
        add: |arguments, schedule| {
            let [batches] = arguments.lists(["A"])?;
            let missing = NotationProblem::MissingNumber {
                method: "accumulate",
                what: "a number of batches",
                example: 4,
            };
            let batches = batches.ok_or_else(|| arguments.fault(missing))?;
            schedule.accumulated = batches.whole("A", 1..=MAX_MICRO_BATCHES)?.value;
            Ok(())
        },
    },
    Mitigation {
        name: "predict",
        is_in: |schedule| schedule.added.prediction.is_some(),
        refused: |schedule| {
            no_staleness("predict", schedule)
                .or_else(|| prediction_refused(schedule))
                .or_else(|| two_look_aheads(schedule.added.look_ahead.is_some()))
        },
        add: |arguments, schedule| {
            let [form] = arguments.lists(["form"])?;
            let prediction = match form.map(|form| form.single("form")).transpose()? {
                None => Prediction::Linear,
                Some(form) => match form.text.to_lowercase().as_str() {
                    "linear" => Prediction::Linear,
                    "geometric" => Prediction::Geometric,
                    _ => {
                        return Err(form.fault(NotationProblem::Unexpected {
                            expected: "`linear` or `geometric`",
                            found: format!("`{}`", form.text),
                        }));
                    }
                },
            };
            schedule.added.prediction = Some(prediction);
            Ok(())
        },
    },
    Mitigation {
        name: "shrink",
        is_in: |schedule| schedule.added.shrinking.is_some(),
        refused: |schedule| {
            let own = schedule.method.corrections().shrinking.is_some();
            no_staleness("shrink", schedule).or_else(|| already(own, schedule, "shrinks gradients"))
        },
        add: |arguments, schedule| {
            let [beta] = arguments.lists(["beta"])?;
            let beta = beta
                .map(|beta| beta.real("beta", 0.001..=1.0))
                .transpose()?;
            schedule.added.shrinking = Some(Shrinking {
                beta: beta.unwrap_or(0.9),
            });
            Ok(())
        },
    },
    Mitigation {
        name: "reschedule",
        is_in: |schedule| schedule.added.rescheduling.is_some(),
        refused: |schedule| {
            let own = schedule.method.corrections().rescheduling.is_some();
            no_staleness("reschedule", schedule)
                .or_else(|| already(own, schedule, "reschedules learning rates"))
        },
        add: |arguments, schedule| {
            let [anneal] = arguments.lists(["anneal"])?;
            let anneal = anneal
                .map(|anneal| anneal.whole("anneal", 1..=MAX_ANNEAL_BATCHES))
                .transpose()?;
            schedule.added.rescheduling = Some(Rescheduling {
                anneal_batches: anneal.map_or(ANNEAL_BATCHES, |anneal| anneal.value),
                first_batch: schedule.synchronous_batches(),
            });
            Ok(())
        },
    },
    Mitigation {
        name: "gap-aware",
        is_in: |schedule| schedule.added.damping.is_some(),
        refused: |schedule| no_staleness("gap-aware", schedule),
        add: |arguments, schedule| {
            arguments.none("gap-aware")?;
            schedule.added.damping = Some(Damping);
            Ok(())
        },
    },
    Mitigation {
        name: "look-ahead",
        is_in: |schedule| schedule.added.look_ahead.is_some(),
        refused: |schedule| {
            no_staleness("look-ahead", schedule)
                .or_else(|| two_look_aheads(schedule.added.prediction.is_some()))
        },
        add: |arguments, schedule| {
            let [largest] = arguments.lists(["momentum"])?;
            let largest = largest
                .map(|largest| largest.real("momentum", 0.0..=0.9999))
                .transpose()?;
            schedule.added.look_ahead = Some(LookAhead {
                largest_momentum: largest.unwrap_or(LARGEST_MOMENTUM),
            });
            Ok(())
        },
    },
    Mitigation {
        name: "split",
        is_in: |schedule| schedule.split,
        refused: |schedule| {
            let method = schedule.method_name();
            if schedule.stages() == 1 {
                return Some(
                    "there is no stage below that would get its gradient sooner".to_owned(),
                );
            }
            let own = schedule
                .policies()
                .iter()
                .any(|policy| policy.split.is_some());
            own.then(|| format!("`{method}` splits its backward passes already"))
        },
        add: |arguments, schedule| {
            arguments.none("split")?;
            schedule.split = true;
            Ok(())
        },
    },
];

/// Adds a mitigation to a schedule.
pub(crate) fn add(call: &Call, schedule: &mut Schedule) -> Result<(), Fault> {
    let lower = call.name.text.to_lowercase();
    let Some(mitigation) = REGISTRY.iter().find(|entry| entry.name == lower) else {
        let known: Vec<_> = REGISTRY.iter().map(|entry| entry.name).collect();
        return Err(call.name.fault(NotationProblem::UnknownMitigation {
            found: call.name.text.clone(),
            known: known.join(", "),
        }));
    };
    if (mitigation.is_in)(schedule) {
        let name = mitigation.name;
        return Err(call.name.fault(NotationProblem::Twice { name }));
    }
    if let Some(reason) = (mitigation.refused)(schedule) {
        return Err(call.name.fault(NotationProblem::Senseless { reason }));
    }
    (mitigation.add)(&call.arguments, schedule)
}

/// What stands behind the method, in canonical form: ` + accumulate(4) + predict`.
pub(crate) fn notation(accumulated: usize, added: &Corrections, split: bool) -> String {
    let accumulate = (accumulated > 1).then(|| format!("accumulate({accumulated})"));
    let predict = added.prediction.map(|form| match form {
        Prediction::Linear => "predict".to_owned(),
        Prediction::Geometric => "predict(geometric)".to_owned(),
    });
    let shrink = added.shrinking.map(|s| format!("shrink({})", s.beta));
    let reschedule = added
        .rescheduling
        .map(|r| format!("reschedule({})", r.anneal_batches));
    let gap_aware = added.damping.map(|Damping| "gap-aware".to_owned());
    let look_ahead = added.look_ahead.map(|look_ahead| {
        if look_ahead.largest_momentum == LARGEST_MOMENTUM {
            "look-ahead".to_owned()
        } else {
            format!("look-ahead({})", look_ahead.largest_momentum)
        }
    });
    let split = split.then(|| "split".to_owned());
    [
        accumulate, predict, shrink, reschedule, gap_aware, look_ahead, split,
    ]
    .into_iter()
    .flatten()
    .map(|mitigation| format!(" + {mitigation}"))
    .collect()
}

fn no_staleness(name: &str, schedule: &Schedule) -> Option<String> {
    let stale = schedule
        .policies()
        .iter()
        .any(|policy| policy.staleness > 0);
    (!stale).then(|| {
        let (method, stages) = (schedule.method_name(), schedule.stages());
        format!("`{name}` works against staleness, and `{method}` with K = {stages} has none")
    })
}

fn already(own: bool, schedule: &Schedule, what: &str) -> Option<String> {
    let method = schedule.method_name();
    own.then(|| format!("`{method}` {what} already; set that in its own parentheses"))
}

fn prediction_refused(schedule: &Schedule) -> Option<String> {
    let method = schedule.method_name();
    let policies = schedule.policies();
    if policies
        .iter()
        .any(|p| p.forward_weights == ForwardWeights::Previous)
    {
        return Some(format!(
            "`{method}` runs every batch at the version before its own, so there is nothing to \
             predict"
        ));
    }
    let corrected =
        |policy: &crate::StagePolicy| policy.backward_weights == BackwardWeights::Corrected;
    policies.iter().any(corrected).then(|| {
        format!(
            "`{method}` moves the weights of the backward pass to those of the forward pass, and \
             `predict` the other way round; take one"
        )
    })
}

fn two_look_aheads(other: bool) -> Option<String> {
    other.then(|| {
        "`predict` and `look-ahead` both run ahead along the momentum; take one".to_owned()
    })
}
