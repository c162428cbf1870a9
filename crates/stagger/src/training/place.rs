//! Which run is resumed, and how it had ended.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stagger_data::foreign;
use stagger_report::snapshot::SNAPSHOTS_FOLDER;
use stagger_report::{
    CONFIG_FILE, DEFAULT_BASE, EndRecord, METRICS_FILE, Record, ReportError, RunFolder,
    read_metrics,
};
use stagger_runtime::EarlyEnd;

use super::final_test;
use super::{Resume, snapshots};
use crate::config_file;
use crate::error::Error;
use crate::refusal::check_path;
use crate::resume_refusal::ResumeRefusal;

/// A run to resume.
pub struct Place {
    pub run: PathBuf,
    /// The folder of one of its snapshots; the newest when none is named.
    pub snapshot: Option<PathBuf>,
}

impl Place {
    /// The run that is to be resumed, if there is one.
    pub fn find(resume: &Resume, output: Option<&Path>) -> Result<Option<Self>, Error> {
        let path = match resume {
            Resume::Auto => {
                let run = locate(output)?;
                return Ok(run.map(|run| Self {
                    run,
                    snapshot: None,
                }));
            }
            Resume::From(path) => path,
        };
        check_path("resume", path)?;
        let is_same = |output: &Path| {
            let whole = |path: &Path| fs::canonicalize(path).ok();
            output == path || whole(output).is_some_and(|output| whole(path) == Some(output))
        };
        if let Some(output) = output.filter(|output| !is_same(output)) {
            let output = output.to_owned();
            return Err(ResumeRefusal::Output { output }.into());
        }
        Ok(Some(Self::of(path)?))
    }

    /// The run that a path means.
    fn of(path: &Path) -> Result<Self, ResumeRefusal> {
        let snapshot = snapshots::is_snapshot(path).then(|| path.to_owned());
        // RUN/snapshots/VERSION
        let above = snapshot.as_ref().and_then(|path| {
            let whole = fs::canonicalize(path).ok()?;
            Some(whole.parent()?.parent()?.to_owned())
        });
        let run = above.unwrap_or_else(|| path.to_owned());
        match fs::metadata(run.join(CONFIG_FILE)) {
            Ok(_) => Ok(Self { run, snapshot }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ResumeRefusal::NoRun {
                path: path.to_owned(),
                run,
                config: CONFIG_FILE,
            }),
            Err(source) => Err(ResumeRefusal::Unreachable {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

/// The run in the output folder, or without one the newest that is not finished.
fn locate(output: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(output) = output {
        check_path("output", output)?;
        if foreign::is_there(&output.join(CONFIG_FILE)) {
            return Ok(Some(output.to_owned()));
        }
        discard_beginnings(output)?;
        return Ok(None);
    }
    let mut runs: Vec<PathBuf> = match fs::read_dir(DEFAULT_BASE) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    // Those of the same time by their names, which begin with it.
    runs.sort_by_cached_key(|run| (written_at(run), run.clone()));
    let unfinished = |run: &PathBuf| {
        // Whatever stands there in the place of a file is told when the run is opened.
        let has = |name| foreign::is_there(&run.join(name));
        let is_run = has(CONFIG_FILE) || has(METRICS_FILE) && has(SNAPSHOTS_FOLDER);
        is_run && keeps_snapshots(run) && !is_finished(run) && !is_in_use(run)
    };
    Ok(runs.into_iter().rev().find(unfinished))
}

/// Whether another process trains it.
fn is_in_use(run: &Path) -> bool {
    matches!(RunFolder::reopen(run), Err(ReportError::InUse { .. }))
}

/// When a run has last written its metrics, or before the first of them its config.
fn written_at(run: &Path) -> Option<SystemTime> {
    let written = |name: &str| fs::metadata(run.join(name)).and_then(|found| found.modified());
    (written(METRICS_FILE).or_else(|_| written(CONFIG_FILE))).ok()
}

/// Whether a run can be resumed at all. One whose config cannot be read says so when it is.
fn keeps_snapshots(run: &Path) -> bool {
    let config = config_file::read_of_run(&run.join(CONFIG_FILE));
    config.map_or(true, |config| config.keep_snapshots != Some(0))
}

/// Removes the partial files that a process left which was killed before its config was written. A process that is
/// alive keeps them.
fn discard_beginnings(output: &Path) -> Result<(), Error> {
    if !output.is_dir() {
        return Ok(());
    }
    let _locked = RunFolder::reopen(output)?;
    let entries = fs::read_dir(output).map_err(cannot("read", output))?;
    let names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if names.iter().all(|path| RunFolder::is_partial_file(path)) {
        for path in names {
            fs::remove_file(&path).map_err(cannot("remove", &path))?;
        }
    }
    Ok(())
}

fn cannot(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        doing,
        path,
        source,
    }
}

/// The version at which the run that wrote these metrics ended as it was asked to.
pub fn ended_well_at(metrics: &Path) -> Option<usize> {
    end_of(metrics).map(|end| end.version)
}

/// Version and top-1 test accuracy, in percent, of the best evaluation of a run: the first of those that are equal.
pub fn best_of(metrics: &Path) -> Result<Option<(usize, f64)>, Error> {
    let mut best = None;
    for record in read_metrics(metrics)? {
        let Record::Epoch(epoch) = record else {
            continue;
        };
        if let Some(top1) = epoch.test_top1
            && best.is_none_or(|(_, before)| top1 > before)
        {
            best = Some((epoch.version, top1));
        }
    }
    Ok(best)
}

/// The same of a run, whose newest snapshot may know of an evaluation that has no line any more: that at a former end inside an epoch.
pub fn best_of_run(run: &Path) -> Option<(usize, f64)> {
    let in_metrics = best_of(&run.join(METRICS_FILE)).ok().flatten();
    better_of(snapshots::best_known(run), in_metrics)
}

/// The better of two evaluations, the first where they are equal.
pub fn better_of(one: Option<(usize, f64)>, other: Option<(usize, f64)>) -> Option<(usize, f64)> {
    match (one, other) {
        (Some(first), Some(second)) if second.1 > first.1 => Some(second),
        (one, other) => one.or(other),
    }
}

/// How the run that wrote these metrics ended, if it ended as it was asked to.
fn end_of(metrics: &Path) -> Option<EndRecord> {
    match read_metrics(metrics).ok()?.pop() {
        Some(Record::End(end)) if !end.interrupted && end.error.is_none() => Some(end),
        _ => None,
    }
}

/// Whether a run has trained on all of its batches, or reached a goal. One that its time limit has ended has more of them.
fn is_finished(run: &Path) -> bool {
    let Some(end) = end_of(&run.join(METRICS_FILE)) else {
        return false;
    };
    let has_met_a_goal = matches!(end.ended_by, Some(EarlyEnd::Target | EarlyEnd::Patience));
    if final_test::lacks(run, end.version) {
        return false;
    }
    has_met_a_goal || snapshots::planned(run).is_none_or(|planned| end.version >= planned)
}
