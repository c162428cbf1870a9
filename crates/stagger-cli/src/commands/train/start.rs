//! Where a run starts: anew, from other weights, or where another process left it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use stagger_engine::StageState;
use stagger_report::{
    CONFIG_FILE, DEFAULT_BASE, EndRecord, METRICS_FILE, Record, RunFolder, read_metrics,
};
use stagger_schedule::Schedule;
use toml::{Table, Value};

use super::session::From;
use super::snapshots::{self, Found};
use crate::commands::build;
use crate::commands::eval;
use crate::failure::Failure;
use crate::flags::config_file;
use crate::flags::high::{self, TrainJob};
use crate::flags::low::{TrainArgs, TrainValues};

/// Everything that is known before anything is written.
pub struct Start {
    pub job: TrainJob,
    pub from: From,
    /// What people have to hear of it.
    pub notes: Vec<String>,
    /// The folder of a run that goes on.
    reopened: Option<RunFolder>,
    /// Whether it has a time limit, and no more than before.
    has_no_more_time: bool,
}

impl Start {
    /// Whether the run is a new one.
    pub fn is_new(&self) -> bool {
        self.reopened.is_none()
    }

    /// The folder of a run that has nothing left to do.
    pub fn finished(&self) -> Option<&Path> {
        let folder = self.reopened.as_ref()?;
        let is_at_end = self.from.version() >= self.job.horizon.batches || self.has_no_more_time;
        // One that was killed on its last steps takes them now.
        (is_at_end && ended_well(&folder.file(METRICS_FILE))).then(|| folder.path())
    }

    /// The run's folder, made where the run is new.
    pub fn folder(&mut self) -> Result<RunFolder, Failure> {
        if let Some(folder) = self.reopened.take() {
            return Ok(folder);
        }
        let job = &self.job;
        Ok(match &job.values.output {
            Some(path) => RunFolder::create(path)?,
            None => {
                RunFolder::create_named(Path::new(DEFAULT_BASE), &job.label(), SystemTime::now())?
            }
        })
    }
}

/// Reads what was asked for, and what a run to go on with has left.
pub fn resolve(arguments: TrainArgs) -> Result<Start, Failure> {
    let mut values = arguments.values;
    if let (Some(resume), Some(output)) = (&arguments.resume, &values.output)
        && resume.as_os_str() != "auto"
        && resume != output
    {
        return Err(anyhow!(
            "--resume goes on in the folder of the run, and --output {} is another; leave it out",
            output.display()
        )
        .into());
    }
    if let Some(path) = &arguments.config {
        values = values.or(config_file::read(path)?);
    }
    let place = match &arguments.resume {
        None => None,
        Some(path) if path.as_os_str() == "auto" => {
            locate(values.output.as_deref())?.map(|run| Place {
                run,
                snapshot: None,
            })
        }
        Some(path) => Some(Place::of(path)?),
    };
    match place {
        Some(place) => reopen(&place, values),
        None => Ok(Start {
            job: high::train(values)?,
            from: From::default(),
            notes: Vec::new(),
            reopened: None,
            has_no_more_time: false,
        }),
    }
}

/// A run to go on with.
struct Place {
    run: PathBuf,
    /// The folder of one of its snapshots; the newest when none is named.
    snapshot: Option<PathBuf>,
}

impl Place {
    /// What a path given by the user means.
    fn of(path: &Path) -> Result<Self> {
        let snapshot = snapshots::is_snapshot(path).then(|| path.to_owned());
        // RUN/snapshots/VERSION
        let above = snapshot.as_ref().and_then(|path| {
            let whole = fs::canonicalize(path).ok()?;
            Some(whole.parent()?.parent()?.to_owned())
        });
        let run = above.unwrap_or_else(|| path.to_owned());
        match fs::metadata(run.join(CONFIG_FILE)) {
            Ok(_) => Ok(Self { run, snapshot }),
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "--resume: {} is neither a run folder nor one of its snapshots: there is no {CONFIG_FILE} in {}",
                path.display(),
                run.display()
            ),
            Err(error) => Err(anyhow!(error).context(format!("--resume {}", path.display()))),
        }
    }
}

/// The run that `--resume auto` goes on with: that of `--output`, or else the newest that is not finished.
fn locate(output: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(output) = output {
        if output.join(CONFIG_FILE).is_file() {
            return Ok(Some(output.to_owned()));
        }
        discard_beginnings(output)?;
        return Ok(None);
    }
    let mut runs: Vec<PathBuf> = match fs::read_dir(DEFAULT_BASE) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    // Their names begin with the time.
    runs.sort();
    let unfinished =
        |run: &PathBuf| run.join(CONFIG_FILE).is_file() && !ended_well(&run.join(METRICS_FILE));
    Ok(runs.into_iter().rev().find(unfinished))
}

/// A process that was killed before its config was written has left nothing but files that were not renamed yet. One
/// that lives keeps them.
fn discard_beginnings(output: &Path) -> Result<()> {
    if !output.is_dir() {
        return Ok(());
    }
    let _locked = RunFolder::reopen(output)?;
    let entries =
        fs::read_dir(output).with_context(|| format!("cannot read {}", output.display()))?;
    let names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let is_partial = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') && name.ends_with(".partial")
    };
    if names.iter().all(is_partial) {
        for path in names {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn ended_well(metrics: &Path) -> bool {
    let records = read_metrics(metrics).unwrap_or_default();
    matches!(
        records.last(),
        Some(Record::End(EndRecord {
            interrupted: false,
            error: None,
            ..
        }))
    )
}

fn reopen(place: &Place, said: TrainValues) -> Result<Start, Failure> {
    let run = &place.run;
    let folder = RunFolder::reopen(run)?;
    let stored = config_file::read(&run.join(CONFIG_FILE))?;
    let output = stored.output.clone();
    let job = high::train(TrainValues {
        output,
        ..said.or(stored.clone())
    })?;
    let (found, mut notes) = match &place.snapshot {
        Some(path) => (Some(snapshots::load(path)?), Vec::new()),
        None => snapshots::latest_before(usize::MAX, run)?,
    };
    let from = match found {
        None if stored.keep_snapshots.is_none_or(|keep| keep == 0) => {
            return Err(anyhow!(
                "{} keeps no snapshots to go on from; start a new run, with --resume-weights {} for its last weights",
                run.display(),
                run.display()
            )
            .into());
        }
        None if !notes.is_empty() => {
            return Err(anyhow!(
                "none of the snapshots of {} is whole: {}; start a new run, with --resume-weights {} for its last weights",
                run.display(),
                notes.join("; "),
                run.display()
            )
            .into());
        }
        None => {
            check_values(&job, &stored, run)?;
            notes.push("there is no snapshot yet: starting again at version 0".to_owned());
            From::default()
        }
        Some(found) => {
            check_same(&job, &found, run)?;
            let (version, batches) = (found.from.version(), job.horizon.batches);
            notes.push(format!("resumed at version {version} of {batches}"));
            if found.commit.as_deref() != option_env!("STAGGER_COMMIT") {
                notes.push(
                    "the snapshot is of another build of stagger: what follows may differ from an unbroken run in the last bits"
                        .to_owned(),
                );
            }
            found.from
        }
    };
    let limits = job.values.max_seconds.zip(stored.max_seconds);
    Ok(Start {
        job,
        from,
        notes,
        reopened: Some(folder),
        has_no_more_time: limits.is_some_and(|(now, before)| now <= before),
    })
}

/// Values that may change where a run goes on: they move time, files and failures, not numbers.
const FREE: [&str; 11] = [
    "calibration-batches",
    "cache-bytes",
    "data-dir",
    "keep-snapshots",
    "max-seconds",
    "on-nan",
    "output",
    "snapshot-every",
    "stall-timeout",
    "straggler",
    "workers",
];

/// Makes sure that the run goes on as it would have.
fn check_same(job: &TrainJob, found: &Found, run: &Path) -> Result<()> {
    check_values(job, &found.values, run)?;
    let instead = instead(run);
    if found.cut != job.cut.sizes() {
        bail!(
            "the blocks of the stages were {:?} and are {:?} now; {instead}",
            found.cut,
            job.cut.sizes()
        );
    }
    let fingerprint = format!("{:016x}", job.split.train.fingerprint());
    if found.data_fingerprint != fingerprint {
        bail!(
            "the training data has changed: its fingerprint was {} and is {fingerprint} now; {instead}",
            found.data_fingerprint
        );
    }
    Ok(())
}

fn instead(run: &Path) -> String {
    format!(
        "a resumed run has to be the run that it was; to change it, start a new one with --resume-weights {}",
        run.display()
    )
}

fn check_values(job: &TrainJob, values: &TrainValues, run: &Path) -> Result<()> {
    let instead = instead(run);
    let (then, now) = (table(values)?, table(&job.values)?);
    let mut keys: Vec<&String> = then.keys().chain(now.keys()).collect();
    keys.sort();
    for key in keys {
        let (was, is) = (then.get(key), now.get(key));
        if was == is || FREE.contains(&key.as_str()) || is_same_schedule(key, was, job) {
            continue;
        }
        let say = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
        bail!("--{key} was {} and is {} now; {instead}", say(was), say(is));
    }
    Ok(())
}

/// Queue lengths may change.
fn is_same_schedule(key: &str, was: Option<&Value>, job: &TrainJob) -> bool {
    let was = was.and_then(Value::as_str).filter(|_| key == "schedule");
    let was = was.and_then(|text| Schedule::parse(text, Some(job.schedule.stages())).ok());
    was.is_some_and(|was| was.gives_the_numbers_of(&job.schedule))
}

fn table(values: &TrainValues) -> Result<Table> {
    Table::try_from(values).context("the config cannot be compared")
}

/// What `--resume-weights` gives the stages to start from. What of it is left out is among the notes.
pub fn initial_states(job: &TrainJob, notes: &mut Vec<String>) -> Result<Option<Vec<StageState>>> {
    let Some(path) = &job.values.resume_weights else {
        return Ok(None);
    };
    let whole = snapshots::weights(path, notes)?;
    let states = eval::stage_states(job, &whole);
    let fits = |states: &[StageState]| {
        build::check_states(job, states).with_context(|| {
            format!(
                "--resume-weights: the weights of {} do not fit {}",
                path.display(),
                job.model.name
            )
        })
    };
    if fits(&states).is_ok() {
        return Ok(Some(states));
    }
    let is_of_optimizer = |state: &StageState| *state != state.clone().without_optimizer();
    if states.iter().any(is_of_optimizer) {
        notes.push(format!(
            "the optimizer state of {} does not fit: the optimizer starts anew",
            path.display()
        ));
    }
    let states: Vec<StageState> = states
        .into_iter()
        .map(StageState::without_optimizer)
        .collect();
    fits(&states)?;
    Ok(Some(states))
}
