//! The parts of an explanation that are sentences.

use super::grid::count;
use super::layout::{paragraph, term};
use crate::{Convergence, Facts, GradientSource, Kept, Lock, Schedule};

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

/// What is proven of a method, and how to apply it; nothing of one that the proof leaves out.
pub(super) fn convergence(schedule: &Schedule) -> String {
    let how = match Convergence::of(schedule) {
        Ok(Convergence::Newest) => "",
        Ok(Convergence::Stashed) => ", by (28) of that page",
        Err(_) => return String::new(),
    };
    let stages = schedule.stages();
    paragraph(&format!(
        "Proven in docs/theory.md for SGD and momentum on smooth losses{how}; for the rate that this allows on a model and its \
         data: stagger theory --schedule '{schedule}' --stages {stages} …"
    ))
}

/// Which of the three locks are removed, and where.
pub(super) fn locks(facts: &Facts) -> String {
    let locks = &facts.locks;
    if locks.forward == Lock::Void {
        return paragraph("None: there is only one stage.");
    }
    if facts.flushes && facts.micro_batches > 1 {
        let held = "held between batches: every stage is empty when it updates.";
        let within = "The micro-batches of one batch overlap, so stages work side by side until the \
                      batch runs out.";
        let lines = ["forward lock", "backward lock", "update lock"];
        let lines: String = lines.iter().map(|name| term(name, held)).collect();
        return format!("{lines}\n{}", paragraph(within));
    }
    let guesses = facts
        .stages
        .iter()
        .any(|stage| stage.gradient == GradientSource::Synthetic);
    let lines = [
        (
            "forward lock",
            &locks.forward,
            forward_reasons(facts, guesses),
        ),
        ("backward lock", &locks.backward, backward_reasons(guesses)),
        ("update lock", &locks.update, update_reasons(facts, guesses)),
    ];
    lines
        .iter()
        .map(|(name, lock, reasons)| {
            let state = match lock {
                Lock::Void => "–".to_owned(),
                Lock::Removed => format!("removed: {}.", reasons.removed),
                Lock::Held => format!("held: {}.", reasons.held),
                Lock::PartlyHeld(hops) => {
                    let hops: Vec<_> = hops.iter().map(|k| format!("{k}–{}", k + 1)).collect();
                    let slack = reasons.slack;
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

/// Why a lock is removed or held, and what is 0 where it is held at some hops.
struct Reasons {
    removed: &'static str,
    held: &'static str,
    slack: &'static str,
}

fn forward_reasons(facts: &Facts, guesses: bool) -> Reasons {
    let shared = facts
        .stages
        .iter()
        .any(|stage| stage.in_flight > 0 && stage.forward_queue > 0);
    Reasons {
        removed: if guesses {
            "c ≥ 1 at every hop, and lower stages run ahead, as they wait for no gradient"
        } else {
            "c ≥ 1 at every hop, the next activation is in the queue already"
        },
        held: if shared {
            "all that is in flight at a hop is needed to remove the backward lock. Stages overlap, \
             but with nothing to spare for jitter and transfer times"
        } else {
            "c = 0 at every hop"
        },
        slack: "c",
    }
}

fn backward_reasons(guesses: bool) -> Reasons {
    Reasons {
        removed: if guesses {
            "a synthesizer guesses the gradient at once"
        } else {
            "b ≥ 1 at every hop, the next gradient is in the queue already"
        },
        held: "b = 0 at every hop",
        slack: "b",
    }
}

fn update_reasons(facts: &Facts, guesses: bool) -> Reasons {
    let wide = facts
        .stages
        .iter()
        .any(|stage| stage.forward_queue + stage.backward_queue > stage.in_flight);
    Reasons {
        removed: if guesses {
            "a stage updates as soon as it has pulled back the guess"
        } else if wide {
            "something is in flight at every hop, an update need not wait for the stages below"
        } else {
            "c + b ≥ 1 at every hop, an update need not wait for the stages below"
        },
        held: "c + b = 0 at every hop",
        slack: "c + b",
    }
}

/// Memory, compute and the bound on the speed.
pub(super) fn costs(facts: &Facts, replicas: usize) -> String {
    let held = |kept| {
        let stages = facts.stages.iter().filter(|stage| stage.kept == kept);
        stages.map(|stage| stage.kept_micro_batches).sum::<usize>()
    };
    let of = if facts.micro_batches > 1 {
        " (of micro-batches)"
    } else {
        ""
    };
    let parts = [
        (held(Kept::Input), "stage input", "stage inputs"),
        (held(Kept::Graph), "graph", "graphs"),
        (
            facts
                .stages
                .iter()
                .map(|stage| stage.pending_micro_batches)
                .sum(),
            "pending half of a backward pass",
            "pending halves of backward passes",
        ),
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
        1 if replicas > 1 => format!("one copy of the weights on each of {replicas} devices"),
        1 => "one copy of the weights, as without stages".to_owned(),
        most => format!("up to {most} copies of the weights of a stage"),
    };
    let stages = facts.stages.len();
    let place = if stages == 1 { "" } else { " over all stages" };
    let memory = format!("{}{of}{place}; {copies}.", parts.join(", "));
    let recomputing = facts
        .stages
        .iter()
        .filter(|stage| stage.kept == Kept::Input)
        .count();
    let guesses = facts
        .stages
        .iter()
        .any(|stage| stage.gradient == GradientSource::Synthetic);
    let compute = if guesses {
        "backpropagation and the passes of the synthesizers, which are not counted here.".to_owned()
    } else if recomputing == 0 {
        "nothing beyond backpropagation: no stage recomputes.".to_owned()
    } else {
        let percent = 100.0 * facts.extra_compute;
        let who = count(recomputing, "stage recomputes", "stages recompute");
        format!("{percent:.0} % on top of backpropagation: {who} the forward pass.")
    };
    let speed = if stages == 1 && replicas > 1 {
        format!("at most {replicas} × that of one device, on {replicas} devices.")
    } else if stages == 1 {
        "that of one device.".to_owned()
    } else {
        let (speedup, devices) = (facts.ideal_speedup, count(stages, "device", "devices"));
        format!("at most {speedup:.2} × that of one device, on {devices}.")
    };
    let bubble = if facts.bubble < 0.005 {
        "none.".to_owned()
    } else {
        let percent = 100.0 * facts.bubble;
        format!("every stage waits {percent:.0} % of the time.")
    };
    let model = "Compute, bubble and speed assume forward 1, backward 2, recompute 1, equal devices, a \
                 network cut into stages of equal work, free transfers and no jitter.";
    [
        term("memory", &memory),
        term("compute", &compute),
        term("bubble", &bubble),
        term("speed", &speed),
        "\n".to_owned(),
        paragraph(model),
    ]
    .concat()
}

/// Schedules that differ little, with the difference.
pub(super) fn neighbours(schedule: &Schedule) -> String {
    let relations = schedule.method().relations();
    relations
        .iter()
        .map(|relation| term(&relation.other, &relation.difference))
        .collect()
}
