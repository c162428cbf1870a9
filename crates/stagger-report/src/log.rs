//! The log of a run, for people.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use stagger_data::{foreign, shown_sentence, shown_text};
use stagger_runtime::{Event, Outcome, RunError};

use crate::disk_watch;
use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::run_lines::RunLines;
use crate::sink::Sink;
use crate::timestamp::utc;

/// A text file whose lines begin with the time in UTC. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct RunLog {
    file: Arc<Mutex<File>>,
    path: PathBuf,
}

impl RunLog {
    /// Creates the file.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it exists or cannot be created.
    pub fn create(path: &Path) -> Result<Self, ReportError> {
        Self::onto(path, "create", File::create_new(path))
    }

    /// Opens the file to append to it; creates it if it is missing.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be opened.
    pub fn append(path: &Path) -> Result<Self, ReportError> {
        Self::onto(path, "open", foreign::append(path))
    }

    fn onto(path: &Path, doing: &'static str, file: io::Result<File>) -> Result<Self, ReportError> {
        let file = file.map_err(|source| ReportError::io(doing, path, source))?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            path: path.to_owned(),
        })
    }

    /// Appends text, each of its lines after the time, with what would drive a terminal that shows it escaped. The text is in the
    /// file on return.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be written.
    pub fn line(&self, text: &str) -> Result<(), ReportError> {
        let stamp = utc(SystemTime::now());
        let lines: String = text
            .lines()
            .map(|line| format!("{stamp} {}\n", shown_text(line)))
            .collect();
        // One call writes all lines, so a panic elsewhere leaves no part of them.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = disk_watch::during("write", &self.path, || file.write_all(lines.as_bytes()));
        written.map_err(|source| ReportError::io("write", &self.path, source))
    }

    /// A sink that logs the start, a line per epoch, and the end of the run.
    pub fn sink(&self, tally: EpochTally) -> LogSink {
        LogSink {
            log: self.clone(),
            lines: RunLines::new(tally),
        }
    }
}

/// Logs the start, the lines of a [`Console`](crate::Console), and how the run ended; see [`RunLog::sink`].
#[derive(Debug)]
pub struct LogSink {
    log: RunLog,
    lines: RunLines,
}

impl Sink for LogSink {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let Event::Started { stages } = event {
            self.log.line(&format!("started: stages {stages}"))?;
        }
        let lines = self.lines.event(event);
        lines.iter().try_for_each(|line| self.log.line(line))
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let lines = self.lines.finish();
        lines.iter().try_for_each(|line| self.log.line(line))?;
        self.log.line(&match end {
            Ok(outcome) => format!(
                "finished: version {}, {:.1} s",
                outcome.version,
                outcome.wall.as_secs_f64()
            ),
            Err(error) => shown_sentence(&format!("failed: {error}")),
        })
    }
}
