//! Runs as one self-contained page.

use std::path::Path;
use std::time::Duration;

use askama::Template;

use super::figures::{common, of_stages};
use super::reported_run::ReportedRun;
use super::timeline::Timeline;
use super::wrong_images::Shown;
use crate::charts::Figure;
use crate::compare::{emulated_note, mebibytes};
use crate::error::ReportError;
use crate::summary::{EpochSummary, StageSummary};
use crate::table::Table;

/// Most rows of a table of epochs.
const MOST_ROWS: usize = 100;

/// The column of the second halves of backward passes.
const WEIGHTS: usize = 4;

/// The script of the page.
const SCRIPT: &str = include_str!("../../templates/run_report/timeline.js");

/// Its SHA-256 in Base64, by which the page names the one script that a browser may run on it. A test says the new one when the script changes.
const SCRIPT_DIGEST: &str = "UR4Tbrwp1UUEg1ftrfzYsYv7+Gr1jvrGHbwKWakwXZI=";

/// The page. The template engine escapes all texts but the charts.
#[derive(Template)]
#[template(path = "run_report/page.html")]
struct Page {
    title: String,
    figures: Vec<Figure>,
    runs: Vec<Section>,
    script: Option<Script>,
}

/// What draws timelines, where there are some. The page lets a browser run nothing else.
struct Script {
    text: &'static str,
    digest: &'static str,
}

/// A run on the page.
struct Section {
    name: String,
    state: String,
    note: Option<String>,
    facts: Vec<(String, String)>,
    stages: Table,
    timeline: Option<Timeline>,
    figures: Vec<Figure>,
    wrong: Option<Shown>,
    epochs: Table,
    thinning: Option<String>,
}

/// Runs as a page of HTML, which contains its charts and loads nothing.
///
/// # Errors
/// [`ReportError::Encode`] when a chart cannot be drawn.
pub fn to_html(runs: &[ReportedRun]) -> Result<String, ReportError> {
    let encode = |what: String| ReportError::Encode {
        path: Path::new("report.html").to_owned(),
        what,
    };
    let runs = &with_names_of_their_own(runs);
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let sections: Result<Vec<Section>, ReportError> = runs
        .iter()
        .map(|run| section(run).map_err(|error| encode(error.to_string())))
        .collect();
    let sections = sections?;
    let is_drawn = |section: &Section| {
        let timeline = section.timeline.as_ref();
        timeline.is_some_and(|timeline| timeline.drawing.is_some())
    };
    let script = || Script {
        text: SCRIPT,
        digest: SCRIPT_DIGEST,
    };
    let page = Page {
        title: names.join(", "),
        figures: common(runs).map_err(|error| encode(error.to_string()))?,
        script: sections.iter().any(is_drawn).then(script),
        runs: sections,
    };
    page.render().map_err(|error| encode(error.to_string()))
}

/// The runs, of which those with equal names get a number.
fn with_names_of_their_own(runs: &[ReportedRun]) -> Vec<ReportedRun> {
    let mut named: Vec<ReportedRun> = Vec::new();
    for run in runs {
        let name = |number: usize| match number {
            1 => run.name.clone(),
            _ => format!("{} ({number})", run.name),
        };
        let is_free = |name: &String| named.iter().all(|other| other.name != *name);
        let name = (1..).map(name).find(is_free);
        named.push(ReportedRun {
            name: name.unwrap_or_default(),
            ..run.clone()
        });
    }
    named
}

fn section(run: &ReportedRun) -> Result<Section, crate::charts::ChartError> {
    let mut facts = run.facts.clone();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("batches trained", run.batches.to_string());
    if run.skipped > 0 {
        add("batches skipped", run.skipped.to_string());
    }
    if let Some((epoch, top1)) = best(&run.epochs) {
        add(
            "best test accuracy",
            format!("{top1:.2} % after epoch {epoch}"),
        );
    }
    if let Some(bytes) = run.peak_memory_bytes {
        add("peak memory", mebibytes(bytes));
    }
    for (name, value) in run.environment.iter().flat_map(|here| here.facts()) {
        add(name, value);
    }
    let said = run.facts.iter().find(|(name, _)| name == "emulated");
    let (epochs, thinning) = epoch_table(run);
    Ok(Section {
        name: run.name.clone(),
        state: run.state.clone(),
        note: said.map(|(_, said)| emulated_note(said)),
        facts,
        stages: stage_table(&run.epochs),
        timeline: run.trace.as_ref().map(Timeline::of),
        figures: of_stages(run)?,
        wrong: run.wrong.as_ref().map(Shown::of),
        epochs,
        thinning,
    })
}

/// The first of the epochs with the highest test accuracy.
fn best(epochs: &[EpochSummary]) -> Option<(usize, f64)> {
    let scores = epochs
        .iter()
        .filter_map(|epoch| Some((epoch.epoch, epoch.test_top1?)));
    scores.fold(None, |best, score| match best {
        Some((_, top1)) if top1 >= score.1 => best,
        _ => Some(score),
    })
}

/// Where the time of each stage went, in percent of all epochs.
fn stage_table(epochs: &[EpochSummary]) -> Table {
    let names = [
        "stage",
        "forward",
        "recompute",
        "backward",
        "weights",
        "update",
        "transfer",
        "loader",
        "receive",
        "send",
        "between",
    ];
    let parts: [fn(&StageSummary) -> Duration; 10] = [
        |stage| stage.forward,
        |stage| stage.recompute,
        |stage| stage.backward,
        |stage| stage.weights,
        |stage| stage.update,
        |stage| stage.transfer,
        |stage| stage.loader,
        |stage| stage.receive,
        |stage| stage.send,
        |stage| stage.unaccounted,
    ];
    let stages = epochs.first().map_or(0, |epoch| epoch.stages.len());
    let row = |stage: usize| {
        let of_stage = || epochs.iter().filter_map(|epoch| epoch.stages.get(stage));
        let sums = parts.map(|part| of_stage().map(part).sum::<Duration>().as_secs_f64());
        let all: f64 = sums.iter().sum();
        let share = |sum: f64| match all > 0.0 {
            true => format!("{:.1} %", 100.0 * sum / all),
            false => "–".to_owned(),
        };
        std::iter::once(stage.to_string())
            .chain(sums.map(share))
            .collect()
    };
    let mut table = Table {
        headers: names.map(str::to_owned).to_vec(),
        rows: (0..stages).map(row).collect(),
    };
    // Only where backward passes are split.
    let has_halves = |epoch: &EpochSummary| epoch.stages.iter().any(|of| !of.weights.is_zero());
    if !epochs.iter().any(has_halves) {
        table.headers.remove(WEIGHTS);
        table
            .rows
            .iter_mut()
            .for_each(|row| drop(row.remove(WEIGHTS)));
    }
    table
}

/// The epochs, and how many are left out.
fn epoch_table(run: &ReportedRun) -> (Table, Option<String>) {
    let names = [
        "epoch",
        "loss",
        "train",
        "test",
        "lr",
        "images/s",
        "busy",
        "bubble",
        "staleness",
    ];
    let epochs = &run.epochs;
    let stride = epochs.len().div_ceil(MOST_ROWS).max(1);
    let last = epochs.len().saturating_sub(1);
    let learned = |text: String| match run.is_emulated {
        true => "–".to_owned(),
        false => text,
    };
    let trained = |epoch: &EpochSummary, text: String| match epoch.has_learned() {
        true => learned(text),
        false => "–".to_owned(),
    };
    let joined = |epoch: &EpochSummary, value: fn(&StageSummary) -> String| {
        let values: Vec<String> = epoch.stages.iter().map(value).collect();
        values.join(" ")
    };
    let row = |epoch: &EpochSummary| {
        vec![
            epoch.epoch.to_string(),
            trained(epoch, format!("{:.4}", epoch.train_loss)),
            trained(epoch, format!("{:.2} %", epoch.train_top1)),
            epoch
                .test_top1
                .map_or("–".to_owned(), |top1| learned(format!("{top1:.2} %"))),
            trained(epoch, format!("{:.3e}", epoch.learning_rate)),
            format!("{:.0}", epoch.images_per_second),
            joined(epoch, |stage| format!("{:.0} %", 100.0 * stage.busy_share)),
            format!("{:.0} %", 100.0 * epoch.bubble_share),
            joined(epoch, |stage| format!("{:.1}", stage.staleness_mean)),
        ]
    };
    let shown = epochs.iter().enumerate();
    let shown = shown.filter(|(at, _)| at % stride == 0 || *at == last);
    let table = Table {
        headers: names.map(str::to_owned).to_vec(),
        rows: shown.map(|(_, epoch)| row(epoch)).collect(),
    };
    let thinning = (stride > 1).then(|| format!("One in {stride} of {} epochs.", epochs.len()));
    (table, thinning)
}
