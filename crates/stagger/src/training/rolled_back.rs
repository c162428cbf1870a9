//! The file that says where a run has gone back to: a process that is killed right after that goes on from there, too.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stagger_data::{foreign, shown_path};
use stagger_report::snapshot::Manifest;
use stagger_report::{ROLLBACK_FILE, ReportError, RunFolder, checksum};

use super::resume;
use super::session::StartPoint;
use crate::error::Error;
use crate::job::Job;

/// Far more than the file has.
const MOST_BYTES: u64 = 1 << 16;

/// The last rollback of a run. Snapshots that were taken after it know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The version from which the run goes on; 0 is its start.
    version: usize,
    learning_rate_factor: f64,
    rollbacks: usize,
    diverged_at: Option<usize>,
    /// Versions at which the pipeline has run empty, also behind `version`: there it does so again.
    #[serde(default)]
    drained_at: Vec<usize>,
    /// [`options`] of the run; files of earlier builds have none.
    #[serde(default)]
    options_crc32: Option<String>,
}

/// A file that is not gone by.
pub struct LeftOut {
    line: String,
    /// How often its run had gone back, where it is whole and of another run, or of this one at other rates.
    rollbacks: Option<usize>,
}

impl LeftOut {
    /// The line on it. Where the run goes on from a snapshot that knows of as many rollbacks, the file has nothing to say.
    pub fn note(self, from: &StartPoint) -> Option<String> {
        let knows = |rollbacks| from.progress.rollbacks >= rollbacks;
        (!self.rollbacks.is_some_and(knows)).then_some(self.line)
    }
}

impl RolledBack {
    pub fn to(back: &StartPoint, job: &Job) -> Result<Self, Error> {
        let progress = &back.progress;
        Ok(Self {
            options_crc32: Some(options(job)?),
            version: back.version(),
            learning_rate_factor: progress.learning_rate_factor,
            rollbacks: progress.rollbacks,
            diverged_at: progress.diverged_at,
            drained_at: progress.drained_at.clone(),
        })
    }

    pub fn write(&self, folder: &RunFolder) -> Result<(), Error> {
        // Numbers have a form in JSON.
        let object = serde_json::to_vec_pretty(self).map(checksum::seal_json);
        Ok(folder.write(ROLLBACK_FILE, &object.unwrap_or_default())?)
    }

    /// The last rollback of the job in a folder. A file that is damaged, or that of another run, costs nothing but time: the run
    /// diverges once more, and goes back to the same version.
    pub fn read(run: &Path, job: &Job) -> Result<Option<Self>, LeftOut> {
        let path = run.join(ROLLBACK_FILE);
        let left_out = |rollbacks, why: &dyn fmt::Display| LeftOut {
            line: format!("{} is left out: {why}", shown_path(&path)),
            rollbacks,
        };
        let read = || {
            let bytes = foreign::read_inside(&path, MOST_BYTES)?;
            if !checksum::check_json(&bytes).map_err(std::io::Error::other)? {
                let what = "it does not end with its checksum";
                return Err(std::io::Error::other(what));
            }
            let found: Self = serde_json::from_slice(&bytes)?;
            Ok((found, options(job).map_err(std::io::Error::other)?))
        };
        match read() {
            Ok((found, own)) if found.options_crc32.as_ref().is_some_and(|crc| *crc != own) => {
                let why = "it is of a run with other options, or of the time before the learning rates of this one were changed";
                Err(left_out(Some(found.rollbacks), &why))
            }
            Ok((found, _)) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(left_out(None, &error)),
        }
    }

    pub fn is_to_the_start(&self) -> bool {
        self.is_to(0)
    }

    pub fn is_to(&self, version: usize) -> bool {
        self.version == version
    }

    /// Refuses a snapshot that is of a time before the rollback, and behind it: a killed process had no time to remove it.
    pub fn check(&self, manifest: &Manifest) -> Result<(), ReportError> {
        let rollbacks = (manifest.progress.get("rollbacks")).and_then(Value::as_u64);
        let is_before = rollbacks.is_none_or(|rollbacks| rollbacks < self.rollbacks as u64);
        match manifest.version > self.version && is_before {
            true => Err(ReportError::GivenUp { to: self.version }),
            false => Ok(()),
        }
    }

    /// Where the run goes on that has gone back to this point.
    pub fn apply(&self, from: &mut StartPoint) {
        let version = from.version();
        let progress = &mut from.progress;
        if self.version == version && progress.rollbacks < self.rollbacks {
            progress.learning_rate_factor = self.learning_rate_factor;
            progress.rollbacks = self.rollbacks;
            progress.diverged_at = self.diverged_at;
            // A file of an earlier build knows of none.
            if !self.drained_at.is_empty() {
                progress.drained_at.clone_from(&self.drained_at);
            }
            progress.rolled_back_to = Some(version);
        }
    }

    /// Removes the file of a run that starts before the version to which it had gone back: it comes to the rollback again.
    pub fn forget_later(folder: &RunFolder, from: &StartPoint, job: &Job) -> Result<(), Error> {
        let last = Self::read(folder.path(), job).ok().flatten();
        if last.is_some_and(|last| last.rollbacks > from.progress.rollbacks) {
            folder.remove(ROLLBACK_FILE)?;
        }
        Ok(())
    }
}

/// A checksum of the options that a run keeps while it trains, and that set it apart from others.
fn options(job: &Job) -> Result<String, Error> {
    /// Those of its length may grow, its queues may change, and so may the words of its model file.
    const CHANGING: [&str; 4] = ["epochs", "max-batches", "network", "schedule"];
    let mut kept = resume::table(&job.options)?;
    kept.retain(|key, _| !resume::is_free(key, job) && !CHANGING.contains(&key));
    Ok(checksum::crc32(kept.to_string().as_bytes()))
}
