//! The parts in words.

use super::grid::count;
use super::layout::{paragraph, term};
use crate::{Facts, Kept, Lock, Locks, Schedule};

/// Notation, name and meaning.
pub(super) fn headline(schedule: &Schedule) -> String {
    let stages = count(schedule.stages(), "stage", "stages");
    let method = schedule.method();
    format!(
        "{schedule}: {} on {stages}\n\n{}",
        method.title(),
        paragraph(&method.meaning())
    )
}

/// What became of the three locks.
pub(super) fn locks(locks: &Locks) -> String {
    if locks.forward == Lock::Void {
        return paragraph("None: there is only one stage.");
    }
    let lines = [
        (
            "forward lock",
            &locks.forward,
            "c",
            "the next activation is in the queue already",
        ),
        (
            "backward lock",
            &locks.backward,
            "b",
            "the next gradient is in the queue already",
        ),
        (
            "update lock",
            &locks.update,
            "c + b",
            "an update need not wait for the stages below",
        ),
    ];
    lines
        .iter()
        .map(|(name, lock, slack, effect)| {
            let state = match lock {
                Lock::Void => "–".to_owned(),
                Lock::Removed => format!("removed: {slack} ≥ 1 at every hop, {effect}."),
                Lock::Held => format!("held: {slack} = 0 at every hop."),
                Lock::PartlyHeld(hops) => {
                    let hops: Vec<_> = hops.iter().map(|k| format!("{k}–{}", k + 1)).collect();
                    format!(
                        "held where {slack} = 0, between stages {}.",
                        hops.join(", ")
                    )
                }
            };
            term(name, &state)
        })
        .collect()
}

/// Memory, compute and the bound on the speed.
pub(super) fn costs(facts: &Facts) -> String {
    let held = |kept| {
        let stages = facts.stages.iter().filter(|stage| stage.kept == kept);
        stages.map(|stage| stage.kept_batches).sum::<usize>()
    };
    let parts = [
        (held(Kept::Input), "stage input", "stage inputs"),
        (held(Kept::Graph), "graph", "graphs"),
        (
            facts.stages.iter().map(|stage| stage.in_flight).sum(),
            "activation in flight",
            "activations in flight",
        ),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(*number, one, many))
        .collect();
    let copies = facts
        .stages
        .iter()
        .map(|stage| stage.weight_copies)
        .max()
        .unwrap_or(1);
    let copies = match copies {
        1 => "one copy of the weights, as without stages".to_owned(),
        most => format!("up to {most} copies of the weights of a stage"),
    };
    let stages = facts.stages.len();
    let place = if stages == 1 { "" } else { " over all stages" };
    let memory = format!("{}{place}; {copies}.", parts.join(", "));
    let recomputing = facts
        .stages
        .iter()
        .filter(|stage| stage.kept == Kept::Input)
        .count();
    let compute = if recomputing == 0 {
        "nothing beyond backpropagation: no stage recomputes.".to_owned()
    } else {
        let percent = 100.0 * facts.extra_compute;
        let who = count(recomputing, "stage recomputes", "stages recompute");
        format!("{percent:.0} % on top of backpropagation: {who} the forward pass.")
    };
    let speed = if stages == 1 {
        "that of one device.".to_owned()
    } else {
        let (speedup, devices) = (facts.ideal_speedup, count(stages, "device", "devices"));
        format!("at most {speedup:.2} × that of one device, on {devices}.")
    };
    let model = "Compute and speed assume forward 1, backward 2, recompute 1, equal devices, a \
                 network cut into stages of equal work, free transfers and no jitter.";
    [
        term("memory", &memory),
        term("compute", &compute),
        term("speed", &speed),
        "\n".to_owned(),
        paragraph(model),
    ]
    .concat()
}

/// The schedules nearby.
pub(super) fn neighbours(schedule: &Schedule) -> String {
    let relations = schedule.method().relations();
    relations
        .iter()
        .map(|relation| term(&relation.other, &relation.difference))
        .collect()
}
