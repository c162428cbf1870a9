//! Resuming: which run, from which of its snapshots, and whether it is still the same run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stagger_data::{foreign, shown_path};
use stagger_engine::StageState;
use stagger_model::{Balance, Model};
use stagger_report::{
    CONFIG_FILE, DEFAULT_BASE, EndRecord, METRICS_FILE, Record, ReportError, RunFolder,
    read_metrics,
};
use stagger_runtime::EarlyEnd;
use stagger_schedule::Schedule;
use toml::{Table, Value};

use super::Resume;
use super::data_check;
use super::extension::{self, Extension};
use super::final_test;
use super::rolled_back::RolledBack;
use super::session::StartPoint;
use super::snapshots::{self, Found};
use crate::config_file::{self, ConfigError};
use crate::error::Error;
use crate::job::{CPU, FORMER_CPU, Given, Job};
use crate::model_file;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_path, refuse_emulated};
use crate::resume_refusal::ResumeRefusal;
use crate::stages;
use crate::weights_fit::{self, Classes};

/// A run that is resumed.
pub struct Reopened {
    pub job: Job,
    pub from: StartPoint,
    /// Lines for people.
    pub notes: Vec<String>,
    pub folder: RunFolder,
}

/// A run to resume.
pub struct Place {
    run: PathBuf,
    /// The folder of one of its snapshots; the newest when none is named.
    snapshot: Option<PathBuf>,
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
        (has(CONFIG_FILE) || has(METRICS_FILE))
            && keeps_snapshots(run)
            && !is_finished(run)
            && !is_in_use(run)
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

/// How it did.
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

/// Opens a run folder, and finds out where the run continues and whether it is the run that it was.
pub fn reopen(
    place: &Place,
    said: TrainingOptions,
    given: &Given,
    commit: Option<&str>,
    accept_changed_data: bool,
) -> Result<Reopened, Error> {
    let run = &place.run;
    let folder = RunFolder::reopen(run)?;
    let stored = config_file::read_of_run(&run.join(CONFIG_FILE))?;
    if stored.engine.as_deref() == Some(FORMER_CPU) {
        return Err(ResumeRefusal::Engine {
            run: run.clone(),
            found: FORMER_CPU,
            expected: CPU,
        }
        .into());
    }
    if let (Some(found), None) = (&said.emulate, &stored.emulate) {
        // Its engine and the like would be refused before.
        return Err(ResumeRefusal::Option {
            run: run.clone(),
            option: "emulate".to_owned(),
            expected: "not set".to_owned(),
            found: format!("{found:?}"),
        }
        .into());
    }
    let output = stored.output.clone();
    let mut said = said;
    let said_calibration = said.calibration_batches.filter(|batches| *batches > 0);
    // The run has been cut by it, and the stored balance is what came of it.
    said.balance
        .take_if(|said| matches!(said.parse(), Ok(Balance::Profile | Balance::File(_))));
    let still = extension::still_holds(&stored, &said);
    let options = TrainingOptions {
        output,
        ..said.or(still)
    };
    let mut job = Job::new(options, given)?;
    let mut notes = Vec::new();
    let (rolled_back, not_gone_by) = match RolledBack::read(run, &job) {
        Ok(found) => (found, None),
        Err(left_out) => (None, Some(left_out)),
    };
    let (found, left_out) = match &place.snapshot {
        Some(path) => (Some(snapshots::load(path, run)?), Vec::new()),
        None => snapshots::latest_that(run, |_| true, rolled_back.as_ref())?,
    };
    let starts_again = rolled_back
        .as_ref()
        .is_some_and(RolledBack::is_to_the_start);
    let is_damaged = !left_out.is_empty() && !starts_again;
    notes.extend(left_out);
    let mut from = match found {
        None if stored.keep_snapshots.is_none_or(|keep| keep == 0) => {
            return Err(ResumeRefusal::NoSnapshots { run: run.clone() }.into());
        }
        None if is_damaged => {
            let run = run.clone();
            return Err(ResumeRefusal::Damaged { run, notes }.into());
        }
        None if ended_well_at(&run.join(METRICS_FILE)).is_some_and(|at| at > 0) => {
            return Err(ResumeRefusal::SnapshotsGone { run: run.clone() }.into());
        }
        None => {
            check_options(&job, &stored, &stored, 0, run)?;
            notes.push("there is no snapshot yet: starting again at version 0".to_owned());
            StartPoint::default()
        }
        Some(mut found) => {
            found.options = found.options.or_as_it_ran();
            check_same(&job, &found, &stored, run)?;
            data_check::check(&job, &found, run, accept_changed_data, &mut notes)?;
            // A longer run that goes back behind its former end comes to it again. The file of a rollback has its own list.
            let version = found.from.version();
            if rolled_back.as_ref().is_none_or(|last| !last.is_to(version)) {
                let drained_at = &mut found.from.progress.drained_at;
                drained_at.extend(snapshots::later_drains(run, version)?);
                drained_at.sort_unstable();
                drained_at.dedup();
            }
            found.from.progress.drained_at = extension::drains(&job, &found.from, &found.options);
            let (version, batches) = (found.from.version(), job.horizon.batches);
            notes.push(format!("resumed at version {version} of {batches}"));
            let factor = found.from.progress.learning_rate_factor;
            notes.extend(Extension::new(&job, &found.options, version).note(factor)?);
            if found.commit.as_deref() != commit {
                notes.push(
                    "the snapshot is of another build of stagger: what follows may differ from an unbroken run in the last bits"
                        .to_owned(),
                );
            }
            notes.extend(later_cosine(&job, &found));
            found.from
        }
    };
    if let Some(rolled_back) = rolled_back {
        rolled_back.apply(&mut from);
    }
    notes.extend(not_gone_by.and_then(|left_out| left_out.note(&from)));
    if said_calibration.is_some_and(|said| Some(said) != stored.calibration_batches) {
        notes.push(
            "the calibration is left out: a run is timed beside backpropagation where it starts, not where it is resumed"
                .to_owned(),
        );
    }
    job.horizon.drain_at.clone_from(&from.progress.drained_at);
    Ok(Reopened {
        job,
        from,
        notes,
        folder,
    })
}

/// The line on learning rates that the build which began the run would not have had.
fn later_cosine(job: &Job, found: &Found) -> Option<String> {
    let options = &job.options;
    let is_cosine = options.lr_schedule.as_deref() == Some("cosine");
    let is_other = is_cosine && options.warmup_batches.is_some_and(|batches| batches > 0);
    (found.has_early_cosine && is_other).then(|| {
        "the snapshot is of an earlier stagger, whose cosine began with the run: from here on it begins where the warm-up ends, \
         and learning rates are a little higher than they would have been"
            .to_owned()
    })
}

/// Options that may change when a run is resumed: they move time, files and failures, not numbers.
pub(super) const FREE: [&str; 16] = [
    "allow-left-out",
    "calibration-batches",
    "cache-bytes",
    "data-dir",
    "keep-snapshots",
    "max-seconds",
    "on-nan",
    "output",
    "patience",
    // Which ones they are is part of the fingerprint of the data.
    "skip-bad-images",
    "snapshot-every",
    "stall-timeout",
    "straggler",
    "target",
    "transport",
    "workers",
];

/// Makes sure that the run continues as it would have.
/// `stored` is what the folder says of its run: it may have gone on longer, and at other rates, than was planned when the snapshot was
/// taken.
fn check_same(job: &Job, found: &Found, stored: &TrainingOptions, run: &Path) -> Result<(), Error> {
    check_options(job, &found.options, stored, found.from.version(), run)?;
    let sizes = job.cut.sizes();
    if found.cut != sizes {
        return Err(ResumeRefusal::Cut {
            run: run.to_owned(),
            expected: found.cut.clone(),
            found: sizes,
        }
        .into());
    }
    Ok(())
}

fn check_options(
    job: &Job,
    options: &TrainingOptions,
    stored: &TrainingOptions,
    version: usize,
    run: &Path,
) -> Result<(), Error> {
    let extension = Extension::new(job, options, version);
    let (then, now) = (table(options)?, table(&job.options)?);
    let stored = table(stored)?;
    let mut keys: Vec<&String> = then.keys().chain(now.keys()).collect();
    keys.sort();
    for key in keys {
        let (was, is) = (then.get(key), now.get(key));
        let is_its_own = stored.get(key) == is;
        let is_free = FREE.contains(&key.as_str()) || extension.allows(key, is_its_own);
        if was == is || is_free || is_same_schedule(key, was, job) {
            continue;
        }
        if key == "network" {
            let text = |value: Option<&Value>| {
                value.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let Model {
                input,
                classes,
                name,
                ..
            } = &job.model;
            if model_file::is_same(&text(was), &text(is), *input, *classes) {
                continue;
            }
            let (run, model) = (run.to_owned(), name.clone());
            return Err(ResumeRefusal::Network { run, model }.into());
        }
        let say = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
        return Err(ResumeRefusal::Option {
            run: run.to_owned(),
            option: key.replace('-', "_"),
            expected: say(was),
            found: say(is),
        }
        .into());
    }
    Ok(())
}

/// Queue lengths may change.
fn is_same_schedule(key: &str, was: Option<&Value>, job: &Job) -> bool {
    let was = was.and_then(Value::as_str).filter(|_| key == "schedule");
    let was = was.and_then(|text| Schedule::parse(text, Some(job.schedule.stages())).ok());
    was.is_some_and(|was| was.gives_the_numbers_of(&job.schedule))
}

pub(super) fn table(options: &TrainingOptions) -> Result<Table, Error> {
    Ok(Table::try_from(options).map_err(ConfigError::from)?)
}

/// The states that the stages start from, by option `resume_weights` or `pretrained`. What of them is left out, and what names
/// were translated, is among the notes.
pub fn initial_states(
    job: &Job,
    notes: &mut Vec<String>,
) -> Result<Option<Vec<StageState>>, Refusal> {
    let options = &job.options;
    let (option, path) = match (&options.resume_weights, &options.pretrained) {
        (Some(path), _) => ("resume_weights", path),
        (None, Some(path)) => ("pretrained", path),
        (None, None) => return Ok(None),
    };
    refuse_emulated(path, None)?;
    let (whole, there) = snapshots::weights(option, path, notes)?;
    refuse_emulated(path, Some(&whole))?;
    let from = shown_path(path);
    let here = job.split.train.class_names();
    let classes = Classes::compare(there.as_deref(), here);
    let others = match &classes {
        Classes::Others(difference) => Some(difference.as_str()),
        _ => None,
    };
    let fitted = match option {
        "pretrained" => weights_fit::fit_body(&job.model, whole, job.seed, others, &from, notes),
        _ => weights_fit::fit(&job.model, whole, &from, notes),
    };
    let mut whole = fitted.map_err(|misfit| Refusal::WeightsFit {
        option,
        path: path.clone(),
        model: job.model.name.clone(),
        head_only: option == "resume_weights" && misfit.is_of_head_only(),
        source: misfit.into(),
    })?;
    match classes {
        Classes::Order(order) => {
            weights_fit::reorder(&job.model, &mut whole, &order);
            let there = there.as_deref().unwrap_or_default();
            notes.push(weights_fit::reordered(&from, there, here));
        }
        // Whose head has another number of rows is refused for that.
        Classes::Others(difference) if option == "resume_weights" => {
            return Err(Refusal::WeightsClasses {
                path: path.clone(),
                difference,
            });
        }
        _ => {}
    }
    let states = stages::split_state(job, &whole);
    let fits = |states: &[StageState]| {
        stages::check_states(job, states).map_err(|error| Refusal::ResumeWeights {
            path: path.clone(),
            model: job.model.name.clone(),
            source: error.into(),
        })
    };
    if fits(&states).is_ok() {
        return Ok(Some(states));
    }
    let is_of_optimizer = |state: &StageState| *state != state.clone().without_optimizer();
    if states.iter().any(is_of_optimizer) {
        notes.push(format!(
            "the optimizer state of {} does not fit: the optimizer starts anew",
            shown_path(path)
        ));
    }
    let states: Vec<StageState> = states
        .into_iter()
        .map(StageState::without_optimizer)
        .collect();
    fits(&states)?;
    Ok(Some(states))
}
