//! Resuming: from which snapshot of a run, and whether it is still the same run.

use std::path::Path;

use stagger_model::{Balance, Model};
use stagger_report::{CONFIG_FILE, METRICS_FILE, RunFolder};
use stagger_schedule::Schedule;
use toml::{Table, Value};

use super::data_check;
use super::extension::{self, Extension};
use super::place::{Place, ended_well_at};
use super::rolled_back::RolledBack;
use super::session::StartPoint;
use super::snapshots::{self, Found};
use crate::config_file::{self, ConfigError};
use crate::error::Error;
use crate::job::{CPU, EngineChoice, FORMER_CPU, Given, Job, check_snapshots};
use crate::model_file;
use crate::options::TrainingOptions;
use crate::resume_refusal::ResumeRefusal;

/// A run that is resumed.
pub struct Reopened {
    pub job: Job,
    pub from: StartPoint,
    /// Lines for people.
    pub notes: Vec<String>,
    pub folder: RunFolder,
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
    let changes_snapshots =
        said.keep_snapshots.is_some() || said.snapshot_every.is_some() || said.on_nan.is_some();
    let options = TrainingOptions {
        output,
        ..said.or(still)
    };
    // A run without snapshots has a sentence of its own, whatever is said.
    if changes_snapshots && stored.keep_snapshots != Some(0) {
        check_snapshots(&options)?;
    }
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
const FREE: [&str; 16] = [
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
        let is_free = is_free(key, job) || extension.allows(key, is_its_own);
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

/// Whether an option may change when a run is resumed. Engine `cpu` gives the same bits on any number of threads; libtorch does not
/// promise that.
pub(super) fn is_free(key: &str, job: &Job) -> bool {
    let is_on_cpu = matches!(job.engine, EngineChoice::Cpu(_));
    FREE.contains(&key) || key == "threads-per-stage" && is_on_cpu
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
