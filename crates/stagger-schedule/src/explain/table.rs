//! The tables: what each stage holds, and which parameters its gradient sees.

use super::grid::count;
use super::layout::{Align, paragraph, table, term};
use crate::{Facts, Kept};

/// Most stages for which the table of versions is drawn; it has a column per stage.
const MOST_COLUMNS: usize = 8;

/// What every stage holds.
pub(super) fn stages(facts: &Facts) -> String {
    let header = [
        ("stage", Align::Right),
        ("staleness m", Align::Right),
        ("queue up c", Align::Right),
        ("queue down b", Align::Right),
        ("in flight", Align::Right),
        ("kept", Align::Left),
        ("weights", Align::Left),
        ("recompute", Align::Left),
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
                match held.kept {
                    Kept::Input => count(held.kept_batches, "input", "inputs"),
                    Kept::Graph => count(held.kept_batches, "graph", "graphs"),
                },
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
    let legend = [
        (
            "staleness m",
            "updates between the forward and the backward pass of a batch.",
        ),
        (
            "queue up c, down b",
            "batches that fit between this stage and the next.",
        ),
        (
            "in flight",
            "activations between the two at equal versions: m of this stage less m of the next.",
        ),
        (
            "kept",
            "batches held at the peak: m between two updates, one more at work.",
        ),
    ];
    let legend: String = legend
        .iter()
        .map(|(name, meaning)| term(name, meaning))
        .collect();
    format!("{}\n{legend}", table(&header, &rows))
}

/// Which version of each stage enters the gradient of batch j (DESIGN §2, fact 3).
pub(super) fn versions(facts: &Facts) -> String {
    let stages = facts.stages.len();
    if facts.stages.iter().all(|stage| stage.staleness == 0) {
        return paragraph("None: the gradient of batch j sees every stage at version j.");
    }
    let mut text = paragraph(
        "The gradient of batch j at stage k sees stage k and those above at version j. A lower \
         stage i enters at version j − m_i, at which its output was computed; the first m_i \
         batches, at version 0.",
    );
    if stages > MOST_COLUMNS {
        return text;
    }
    let titles: Vec<String> = (0..stages)
        .map(|stage| format!("sees stage {stage} at"))
        .collect();
    let mut header = vec![("gradient of", Align::Left)];
    header.extend(titles.iter().map(|title| (title.as_str(), Align::Right)));
    let rows: Vec<Vec<String>> = (0..stages)
        .map(|at| {
            let seen = facts.stages.iter().enumerate().map(|(stage, held)| {
                if stage < at && held.staleness > 0 {
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
