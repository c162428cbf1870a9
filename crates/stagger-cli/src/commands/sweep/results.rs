//! What is told of a sweep.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stagger::data::shown_text;
use stagger::report::Table;
use stagger::report::compare::{RunResult, RunState, emulated_note};

use super::axis::shown;
use super::request::{Point, Request};
use crate::commands::series::SeriesFolder;

/// A combination, and what came of its run.
pub struct Outcome {
    /// Of its folder.
    pub name: String,
    pub point: Point,
    pub state: RunState,
    /// How long stages slept where they did not compute.
    pub emulated: Option<String>,
}

impl Outcome {
    /// Loss of the last tenth of the batches, in the mean; stages that sleep have none.
    fn last_loss(&self) -> Option<f64> {
        let result = self.state.result().filter(|_| self.emulated.is_none())?;
        let batches = &result.progress.batches;
        let tenth = &batches[batches.len() - batches.len().div_ceil(10)..];
        let sum: f64 = tenth.iter().map(|batch| batch.loss).sum();
        (!tenth.is_empty()).then(|| sum / tenth.len() as f64)
    }
}

/// The best first: by accuracy where that was measured, else by loss, else by speed; what failed last.
fn ranked(outcomes: &[Outcome]) -> Vec<&Outcome> {
    let mut ranked: Vec<&Outcome> = outcomes.iter().collect();
    let key = |outcome: &Outcome| {
        let Some(result) = outcome.state.result() else {
            return [f64::INFINITY; 3];
        };
        let first = |value: Option<f64>| value.unwrap_or(f64::MAX);
        [
            first(result.best_top1().map(|top1| -top1)),
            first(outcome.last_loss().filter(|loss| !loss.is_nan())),
            first(result.progress.images_per_second.map(|rate| -rate)),
        ]
    };
    ranked.sort_by(|one, other| {
        let pairs = key(one).into_iter().zip(key(other));
        let differs = pairs.map(|(one, other)| one.total_cmp(&other));
        differs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    ranked
}

/// A row per run, the best first.
pub fn table(request: &Request, outcomes: &[Outcome]) -> Table {
    let mut headers = vec!["run".to_owned()];
    headers.extend(request.over.iter().map(|axis| axis.option.clone()));
    let figures = ["best top-1", "final top-1", "last loss", "images/s"];
    headers.extend(figures.map(str::to_owned));
    let row = |outcome: &Outcome| {
        let mut row = vec![outcome.name.clone()];
        row.extend(
            outcome
                .point
                .0
                .iter()
                .map(|(_, choice)| shown(&choice.said)),
        );
        match outcome.state.result() {
            Some(result) => {
                let shown = |value: Option<f64>, decimals: usize, unit: &str| {
                    value.map_or("–".to_owned(), |value| {
                        format!("{value:.decimals$}{unit}")
                    })
                };
                row.extend([
                    shown(result.best_top1(), 1, " %"),
                    shown(result.final_top1(), 1, " %"),
                    shown(outcome.last_loss(), 4, ""),
                    shown(result.progress.images_per_second, 0, ""),
                ]);
            }
            None => row.extend(["failed", "–", "–", "–"].map(str::to_owned)),
        }
        row
    };
    Table {
        headers,
        rows: ranked(outcomes).into_iter().map(row).collect(),
    }
}

/// A line for each way in which stages slept instead of computing.
pub fn emulated_notes(outcomes: &[Outcome]) -> String {
    let ways = outcomes
        .iter()
        .filter_map(|outcome| outcome.emulated.as_deref());
    let ways: BTreeSet<&str> = ways.collect();
    let notes = ways
        .into_iter()
        .map(|said| emulated_note(&shown_text(said)));
    notes.map(|note| format!("{note}\n")).collect()
}

/// Writes `sweep.json`, for programs: the best run first.
pub fn write(outcomes: &[Outcome], folder: &SeriesFolder) -> Result<()> {
    let run = |outcome: &Outcome| {
        let values = outcome.point.0.iter();
        let values = values
            .map(|(option, choice)| Ok((option.clone(), serde_json::to_value(&choice.said)?)));
        let result = outcome.state.result();
        Ok(json!({
            "run": outcome.name,
            "folder": folder.run(&outcome.name).to_string_lossy(),
            "values": values.collect::<Result<serde_json::Map<String, Value>>>()?,
            "done": result.is_some(),
            "best_top1": result.and_then(RunResult::best_top1),
            "final_top1": result.and_then(RunResult::final_top1),
            "last_loss": outcome.last_loss(),
            "images_per_second": result.and_then(|result| result.progress.images_per_second),
            "wall_seconds": result.map(|result| result.wall_seconds),
            "emulated": outcome.emulated,
        }))
    };
    let runs = ranked(outcomes)
        .into_iter()
        .map(run)
        .collect::<Result<Vec<_>>>()?;
    let text = serde_json::to_string_pretty(&json!({ "runs": runs }))
        .context("the results cannot be written as JSON")?;
    folder.write("sweep.json", &format!("{text}\n"))?;
    Ok(())
}
