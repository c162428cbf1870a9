//! `stagger report`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use stagger::data::shown_path;
use stagger::report::NewFile;
use stagger::report::run_report::{ReportedRun, TRACE_FILE, WrongImages, to_html};
use stagger::{MOST_WRONG_IMAGES, Spelling, check_path, wrong_images};

use super::print;
use crate::failure::Failure;
use crate::flags::ReportArgs;
use crate::terminal;

/// Writes a page of runs.
pub fn run(arguments: &ReportArgs) -> Result<(), Failure> {
    for path in arguments.runs.iter().chain([&arguments.output]) {
        check_path("path", path).map_err(stagger::Error::from)?;
    }
    for path in &arguments.trace {
        check_path("trace", path).map_err(stagger::Error::from)?;
    }
    let (traces, folders) = (arguments.trace.len(), arguments.runs.len());
    if traces > 0 && traces != folders {
        return Err(anyhow!(
            "the number of --trace is {traces} and that of runs {folders}; give one for each run, in their order"
        )
        .into());
    }
    if arguments.mistakes > MOST_WRONG_IMAGES {
        return Err(anyhow!(
            "--mistakes is {}; give at most {MOST_WRONG_IMAGES}, which is what a page shows of a run",
            arguments.mistakes
        )
        .into());
    }
    let page = NewFile::at(&arguments.output)?;
    let runs: Result<Vec<ReportedRun>, _> = arguments
        .runs
        .iter()
        .map(|run| ReportedRun::read(run))
        .collect();
    let mut runs = with_traces(runs?, arguments)?;
    for fault in runs.iter().flat_map(ReportedRun::faults) {
        terminal::say(fault);
    }
    if arguments.mistakes > 0 {
        let paths = arguments.runs.iter();
        let with_images = |(run, path): (ReportedRun, &PathBuf)| {
            run.with_wrong_images(wrong_images_or_why_not(path, arguments.mistakes))
        };
        runs = runs.into_iter().zip(paths).map(with_images).collect();
    }
    let written = page.write(to_html(&runs)?.as_bytes());
    written.map_err(Failure::of_run)?;
    print(&format!("{}\n", shown_path(page.path())))?;
    Ok(())
}

/// The runs with the timelines that are asked for, or found.
fn with_traces(
    runs: Vec<ReportedRun>,
    arguments: &ReportArgs,
) -> Result<Vec<ReportedRun>, Failure> {
    let batches = &arguments.trace_batches;
    let with_trace = |(at, run): (usize, ReportedRun)| match arguments.trace.get(at) {
        Some(file) => run.with_trace(file, batches.clone()),
        None => Ok(run.with_trace_found(&arguments.runs[at], batches.clone())),
    };
    let runs: Result<Vec<ReportedRun>, _> = runs.into_iter().enumerate().map(with_trace).collect();
    let runs = runs?;
    if batches.is_some() && !runs.iter().any(ReportedRun::has_trace) {
        return Err(anyhow!(
            "--trace-batches needs a trace; give --trace FILE beside it, or put {TRACE_FILE} into the folder of the run"
        )
        .into());
    }
    let is_drawn = |run: &ReportedRun| run.has_trace() && run.trace_refusal().is_none();
    let mut refusals = runs.iter().filter_map(ReportedRun::trace_refusal);
    match refusals.next() {
        Some(refusal) if batches.is_some() && !runs.iter().any(is_drawn) => {
            Err(anyhow!("--trace-batches: {refusal}").into())
        }
        _ => Ok(runs),
    }
}

/// What else is on the page does not need the data.
fn wrong_images_or_why_not(run: &Path, most: usize) -> WrongImages {
    wrong_images(run, most).unwrap_or_else(|error| WrongImages {
        note: format!("not evaluated: {}", error.sentence(Spelling::Flags)),
        ..WrongImages::default()
    })
}
