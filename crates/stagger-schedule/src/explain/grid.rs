//! The grid of a run: rows are stages, columns are ticks.

use std::fmt::Write;

use super::WIDTH;
use super::layout::{indented, paragraph};
use crate::timeline::Timeline;
use crate::{Action, Facts, GradientSource, Schedule, StageFacts};

/// Most ticks that are shown.
const MOST_TICKS: usize = 200;

/// A cell in which nothing happens.
const NOTHING: &str = "·";

/// Whether the grid of a run with a clock says it all: every queue has a batch for every stage, and
/// what is in flight fills the queues of every hop.
pub(super) fn has_a_clock(schedule: &Schedule, facts: &Facts) -> bool {
    let full = |stage: &StageFacts| {
        stage.forward_queue + stage.backward_queue == stage.in_flight
            && stage.gradient == GradientSource::Above
    };
    facts.is_lock_free()
        && schedule.micro_batches() == 1
        && schedule.synchronous_batches() == 0
        && facts.stages.iter().all(full)
}

/// The clocked grid of a lock-free schedule: in every tick every stage forwards one batch and
/// pulls one back, side by side, because every queue has a batch for it.
///
/// At tick t stage k forwards batch `t − (c_0 + … + c_{k−1})` and pulls back the batch `m_k`
/// before that one.
pub(super) fn clocked(schedule: &Schedule, batches: usize) -> String {
    let policies = schedule.policies();
    let mut delay = 0;
    let delays: Vec<(usize, usize)> = policies
        .iter()
        .map(|policy| {
            let forward = delay;
            delay += policy.forward_queue;
            (forward, forward + policy.staleness)
        })
        .collect();
    // The lowest stage waits longest: c + b ≥ c at every hop.
    let longest = delays[0].1;
    let ticks = batches.saturating_add(longest);
    let shown = if batches == 0 {
        0
    } else {
        ticks.min(MOST_TICKS)
    };
    let cells = |delay: usize| -> Vec<String> {
        (0..shown)
            .map(|tick| match tick.checked_sub(delay) {
                Some(batch) if batch < batches => batch.to_string(),
                _ => NOTHING.to_owned(),
            })
            .collect()
    };
    let rows = delays
        .iter()
        .enumerate()
        .flat_map(|(stage, &(forward, backward))| {
            let label = format!("stage {stage}");
            let below = " ".repeat(label.len());
            [
                (format!("{label} F"), cells(forward)),
                (format!("{below} B"), cells(backward)),
            ]
        })
        .collect();
    let mut text = paragraph(&format!(
        "A run of {} with a clock: in every tick each stage forwards one batch (F) and pulls one \
         back (B). At tick t stage k forwards batch t − (c_0 + … + c_{{k−1}}), and pulls back the \
         batch m_k before that one.",
        count(batches, "batch", "batches"),
    ));
    if batches > longest {
        let steady = format!("From tick {longest} on all stages do both in every tick");
        let until = batches - 1;
        text += &paragraph(&format!(
            "{steady}, until the batches run out after tick {until}."
        ));
    }
    text + &panels(rows, shown) + &cut(shown, ticks)
}

/// The grid of any other schedule: a forward pass takes a tick, a backward pass with its recompute
/// another, or a tick for each half of it, and each starts as soon as it can.
pub(super) fn dataflow(schedule: &Schedule, batches: usize) -> String {
    // Every micro-batch takes a tick at least, so no later batch appears in the ticks shown.
    let micro_batches = schedule.micro_batches();
    let simulated = batches.min(MOST_TICKS.div_ceil(micro_batches));
    let events: Vec<_> = Timeline::new(schedule, simulated, |_, action| match action {
        Action::Forward { .. } | Action::Backward { .. } | Action::WeightGradients { .. } => 1,
        _ => 0,
    })
    .filter(|event| event.end > event.start)
    .collect();
    let ticks = events
        .iter()
        .map(|event| event.end as usize)
        .max()
        .unwrap_or(0);
    let shown = ticks.min(MOST_TICKS);
    let mut cells = vec![vec![NOTHING.to_owned(); shown]; schedule.stages()];
    for event in &events {
        if let Some(cell) = cells[event.stage].get_mut(event.start as usize) {
            *cell = event.action.to_string();
        }
    }
    let splits = schedule.policy(0).split.is_some();
    let busy = (if splits { 3 } else { 2 }) * simulated * micro_batches;
    let rows = cells
        .into_iter()
        .enumerate()
        .map(|(stage, cells)| (format!("stage {stage}"), cells))
        .collect();
    let mut text = paragraph(&format!(
        "A run of {}, if a forward pass (F) takes one tick and {}, and transfers take none. \
         {NOTHING} is a bubble: the stage waits.{}",
        count(batches, "batch", "batches"),
        match splits {
            true =>
                "so does each half of a backward pass, the gradients of inputs (B) and those of weights (W)",
            false if schedule.recomputes().contains(&true) =>
                "a backward pass with its recompute (B) another",
            false => "a backward pass (B) another",
        },
        if micro_batches > 1 {
            " F3.1 is the forward pass of micro-batch 1 of batch 3, and F3 that of micro-batch 0."
        } else {
            ""
        },
    ));
    if simulated == batches && batches > 0 {
        let percent = 100.0 * busy as f64 / ticks as f64;
        text += &paragraph(&format!(
            "Every stage works in {busy} of {ticks} ticks ({percent:.0} %)."
        ));
    }
    let total = if simulated < batches {
        usize::MAX
    } else {
        ticks
    };
    text + &panels(rows, shown) + &cut(shown, total)
}

/// Says that there is more than what is shown.
fn cut(shown: usize, ticks: usize) -> String {
    if shown < ticks && shown > 0 {
        format!(
            "\n{}",
            paragraph(&format!("The grid is cut after {shown} ticks."))
        )
    } else {
        String::new()
    }
}

/// Draws rows of cells under a row of ticks, in as many panels as the width asks for.
fn panels(rows: Vec<(String, Vec<String>)>, ticks: usize) -> String {
    let label_width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let cells = rows
        .iter()
        .flat_map(|(_, cells)| cells)
        .map(|cell| cell.chars().count());
    let cell_width = 2 + cells.chain([ticks.to_string().len()]).max().unwrap_or(1);
    let per_panel = ((WIDTH - 2 - label_width) / cell_width).max(1);
    let mut text = String::new();
    for start in (0..ticks).step_by(per_panel) {
        let end = ticks.min(start + per_panel);
        let mut line = format!("{:label_width$}", "tick");
        for tick in start..end {
            let _ = write!(line, "{tick:>cell_width$}");
        }
        text += &format!("\n{}", indented(2, &line));
        for (label, cells) in &rows {
            let mut line = format!("{label:label_width$}");
            for cell in &cells[start..end] {
                let _ = write!(line, "{cell:>cell_width$}");
            }
            text += &indented(2, &line);
        }
    }
    text
}

/// `1 batch`, `2 batches`.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
