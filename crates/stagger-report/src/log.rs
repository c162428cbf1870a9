//! The log of a run, for people.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use stagger_runtime::{Event, Outcome, RunError};

use crate::epoch::EpochTally;
use crate::epoch_line::format_epoch;
use crate::error::ReportError;
use crate::sink::Sink;
use crate::utc::utc_stamp;

/// A text file of lines with the UTC time in front. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct RunLog {
    file: Arc<Mutex<File>>,
    path: PathBuf,
}

impl RunLog {
    /// Makes the file.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        let file = File::create_new(path);
        let file = file.map_err(|source| ReportError::io("create", path, source))?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            path: path.to_owned(),
        })
    }

    /// Opens the file to write on at its end, and makes it where it is missing.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be opened.
    pub fn append(path: &Path) -> Result<Self, ReportError> {
        let file = File::options().append(true).create(true).open(path);
        let file = file.map_err(|source| ReportError::io("open", path, source))?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            path: path.to_owned(),
        })
    }

    /// Appends text; each of its lines gets the time in front. It is in the file on return.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be written.
    pub fn line(&self, text: &str) -> Result<(), ReportError> {
        let stamp = utc_stamp(SystemTime::now());
        let lines: String = text
            .lines()
            .map(|line| format!("{stamp} {line}\n"))
            .collect();
        // A line is written by one call, so a panic elsewhere leaves nothing half done.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(lines.as_bytes());
        written.map_err(|source| ReportError::io("write", &self.path, source))
    }

    /// A sink that logs the start, a line per epoch, and how the run ended.
    pub fn sink(&self, tally: EpochTally) -> LogSink {
        LogSink {
            log: self.clone(),
            tally,
        }
    }
}

/// Logs the start, a line per epoch, and how the run ended; see [`RunLog::sink`].
#[derive(Debug)]
pub struct LogSink {
    log: RunLog,
    tally: EpochTally,
}

/// What is said of a batch that is left out.
pub(crate) fn skipped(batch: usize, loss: f32) -> String {
    format!("batch {batch} is left out: its loss is {loss}")
}

impl Sink for LogSink {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Started { stages } => self.log.line(&format!("started: stages {stages}"))?,
            Event::Interrupted { batch } => {
                self.log
                    .line(&format!("interrupted: halting at version {batch}"))?;
            }
            Event::Skipped { batch, loss, .. } => {
                self.log.line(&skipped(*batch, *loss))?;
            }
            _ => {}
        }
        let summary = self.tally.event(event);
        summary.map_or(Ok(()), |summary| self.log.line(&format_epoch(&summary)))
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        for summary in self.tally.flush() {
            self.log.line(&format_epoch(&summary))?;
        }
        self.log.line(&match end {
            Ok(outcome) => format!(
                "finished: version {}, {:.1} s",
                outcome.version,
                outcome.wall.as_secs_f64()
            ),
            Err(error) => format!("failed: {error}"),
        })
    }
}
