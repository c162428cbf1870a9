//! A schedule in plain text: what it does, what it removes, what it costs.

mod grid;
mod layout;
mod prose;
mod semantics;
mod table;

use crate::{Facts, Schedule};

/// Widest line, in characters.
const WIDTH: usize = 100;

/// Explains a schedule in plain text, with the grid of a run of so many batches.
///
/// The text has lines of at most 100 characters (except where a notation is longer), no control
/// characters but line ends, and ends with one. Long grids are split into panels, and cut after
/// 200 ticks.
pub fn explain(schedule: &Schedule, batches: usize) -> String {
    let facts = Facts::of(schedule);
    let grid = if grid::has_a_clock(schedule, &facts) {
        grid::clocked(schedule, batches)
    } else {
        grid::dataflow(schedule, batches)
    };
    let sections = [
        ("", prose::headline(schedule)),
        ("Grid", grid),
        ("Stages", table::stages(&facts)),
        ("Micro-batches", semantics::micro_batches(schedule)),
        ("Weights", semantics::weights(&facts)),
        ("Staleness", table::versions(&facts)),
        ("Mitigations", semantics::mitigations(schedule)),
        ("Locks", prose::locks(&facts)),
        (
            "Costs",
            prose::costs(&facts, schedule.replicas().unwrap_or(1)),
        ),
        ("Convergence", prose::convergence(schedule)),
        ("Neighbours", prose::neighbours(schedule)),
    ];
    let mut text = String::new();
    for (title, body) in sections.into_iter().filter(|(_, body)| !body.is_empty()) {
        if !title.is_empty() {
            text += &format!("\n{title}\n\n");
        }
        text += &body;
    }
    text
}
