//! The tables: what each stage holds, and which parameters its gradient sees.

use comfy_table::CellAlignment;

use super::grid::count;
use super::layout::{paragraph, table, term};
use crate::{BackwardWeights, Facts, ForwardWeights, Kept, StageFacts};

/// Most stages for which the table of versions is drawn; it has a column per stage.
const MOST_COLUMNS: usize = 8;

/// Most stages for which its columns have long titles.
const MOST_WIDE_COLUMNS: usize = 5;

/// What every stage holds.
pub(super) fn stages(facts: &Facts) -> String {
    let header = [
        ("stage", CellAlignment::Right),
        ("staleness m", CellAlignment::Right),
        ("queue up c", CellAlignment::Right),
        ("queue down b", CellAlignment::Right),
        ("in flight", CellAlignment::Right),
        ("kept", CellAlignment::Left),
        ("weights", CellAlignment::Left),
        ("recompute", CellAlignment::Left),
    ];
    let rows: Vec<Vec<String>> = facts
        .stages
        .iter()
        .enumerate()
        .map(|(stage, held)| {
            vec![
                stage.to_string(),
                held.staleness.to_string(),
                held.forward_queue.to_string(),
                held.backward_queue.to_string(),
                held.in_flight.to_string(),
                kept(held),
                count(held.weight_copies, "copy", "copies"),
                if held.kept == Kept::Input {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
            ]
        })
        .collect();
    let whole = facts.micro_batches == 1;
    let above = facts.stages.iter().skip(1).map(|stage| stage.staleness);
    let by_staleness = facts
        .stages
        .iter()
        .zip(above.chain([0]))
        .all(|(stage, above)| whole && stage.in_flight + above == stage.staleness);
    let legend = [
        (
            "staleness m",
            if whole {
                "updates between the forward and the backward pass of a batch."
            } else {
                "updates between the forward and the backward pass of a micro-batch, at the most."
            },
        ),
        (
            "queue up c, down b",
            if whole {
                "batches that fit between this stage and the next."
            } else {
                "micro-batches that fit between this stage and the next."
            },
        ),
        (
            "in flight",
            if by_staleness {
                "activations between the two at equal versions: m of this stage less m of the next."
            } else {
                "activations between the two at equal versions."
            },
        ),
        (
            "kept",
            if by_staleness {
                "batches held at the peak: m between two updates, one more at work."
            } else if whole {
                "batches held at the peak."
            } else {
                "micro-batches held at the peak."
            },
        ),
    ];
    let most_held = facts.stages.iter().map(|stage| stage.held_micro_batches);
    let halves = facts
        .stages
        .iter()
        .any(|stage| stage.pending_micro_batches > 0);
    let halves = halves.then(|| {
        let (one, several) = match whole {
            true => ("batch", "batches"),
            false => ("micro-batch", "micro-batches"),
        };
        let most = count(most_held.max().unwrap_or_default(), one, several);
        let text = format!(
            "pending halves of backward passes: inputs and output gradients of convolutions and linear layers. What a \
             stage holds is of {most} at the most."
        );
        ("half", text)
    });
    let legend = legend.iter().map(|&(name, meaning)| term(name, meaning));
    let halves = halves.map(|(name, meaning)| term(name, &meaning));
    let legend: String = legend.chain(halves).collect();
    format!("{}\n{legend}", table(&header, &rows))
}

fn kept(held: &StageFacts) -> String {
    let whole = match held.kept {
        Kept::Input => count(held.kept_micro_batches, "input", "inputs"),
        Kept::Graph => count(held.kept_micro_batches, "graph", "graphs"),
    };
    match held.pending_micro_batches {
        0 => whole,
        halves => format!("{whole}, {}", count(halves, "half", "halves")),
    }
}

/// Which version of each stage enters the gradient of batch j (docs/algorithm.md, "Facts" 3).
pub(super) fn versions(facts: &Facts) -> String {
    let stages = facts.stages.len();
    let any = |wanted: fn(&StageFacts) -> bool| facts.stages.iter().any(wanted);
    if any(|stage| stage.forward_weights == ForwardWeights::Previous) {
        return paragraph(
            "The gradient of batch j sees every stage at version j − 1, and batch 0 at version 0: \
             one update between the weights of a gradient and those it is applied to, at every \
             stage.",
        );
    }
    if facts.stages.iter().all(|stage| stage.staleness == 0) {
        return paragraph("None: the gradient of batch j sees every stage at version j.");
    }
    let stashed = any(|stage| stage.backward_weights == BackwardWeights::Stashed);
    let corrected = any(|stage| stage.backward_weights == BackwardWeights::Corrected);
    let predicted = any(|stage| stage.forward_weights == ForwardWeights::Predicted);
    let mut text = paragraph(if stashed {
        "The gradient of batch j sees every stage i at version j − m_i, that of its forward pass, \
         and is applied to version j; the first m_i batches see version 0."
    } else {
        "The gradient of batch j at stage k sees stage k and those above at version j. A lower \
         stage i enters at version j − m_i, at which its output was computed; the first m_i \
         batches, at version 0."
    });
    if corrected {
        text += &paragraph(
            "Stage k and those above are moved back from version j towards j − m_i, their forward \
             pass.",
        );
    }
    if predicted {
        text += &paragraph(
            "Where m_i > 0, version j − m_i was moved ahead towards j by the prediction.",
        );
    }
    if facts.micro_batches > 1 {
        text += &paragraph(
            "That holds for micro-batch 0 of a batch. The later ones are less stale, where an \
             update came before their forward pass and not after it.",
        );
    }
    if stages > MOST_COLUMNS {
        return text;
    }
    let titles: Vec<String> = (0..stages)
        .map(|stage| match stages {
            ..=MOST_WIDE_COLUMNS => format!("sees stage {stage} at"),
            _ => format!("stage {stage}"),
        })
        .collect();
    let mut header = vec![("gradient of", CellAlignment::Left)];
    header.extend(
        titles
            .iter()
            .map(|title| (title.as_str(), CellAlignment::Right)),
    );
    let rows: Vec<Vec<String>> = (0..stages)
        .map(|at| {
            let seen = facts.stages.iter().enumerate().map(|(stage, held)| {
                if (stage < at || stashed) && held.staleness > 0 {
                    format!("j − {}", held.staleness)
                } else {
                    "j".to_owned()
                }
            });
            std::iter::once(format!("stage {at}")).chain(seen).collect()
        })
        .collect();
    text += &format!("\n{}", table(&header, &rows));
    text
}
