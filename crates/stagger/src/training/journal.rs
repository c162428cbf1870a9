//! The lines for people: on the console, and in the log that keeps them.

use std::io::{self, Write};

use stagger_report::{
    CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, Environment, LOG_FILE, RunFolder, RunLog,
};

use crate::config_file;
use crate::data_file;
use crate::error::Error;
use crate::job::Job;

/// Writes lines to both, or to the one that is wanted.
pub struct Journal {
    pub log: Option<RunLog>,
    console: bool,
}

impl Journal {
    /// Creates or continues the log of a run that has a folder, and writes config, facts about the data and environment there.
    pub fn open(
        folder: Option<&RunFolder>,
        job: &Job,
        commit: Option<&str>,
        console: bool,
    ) -> Result<Self, Error> {
        let Some(folder) = folder else {
            return Ok(Self { log: None, console });
        };
        folder.write(
            CONFIG_FILE,
            config_file::write_of_run(&job.options)?.as_bytes(),
        )?;
        folder.write(DATA_FILE, &data_file::write(&job.split))?;
        let environment = Environment::gather(env!("CARGO_PKG_VERSION"), commit);
        folder.write(ENVIRONMENT_FILE, environment.to_json().as_bytes())?;
        Ok(Self {
            log: Some(RunLog::append(&folder.file(LOG_FILE))?),
            console,
        })
    }

    /// Writes one line or several.
    pub fn say(&self, text: &str) -> Result<(), Error> {
        if let Some(log) = &self.log {
            log.line(text)?;
        }
        self.print(text)
    }

    /// Writes to the console only.
    pub fn print(&self, text: &str) -> Result<(), Error> {
        if !self.console {
            return Ok(());
        }
        match writeln!(io::stdout().lock(), "{text}") {
            // A reader that has gone away, as `head` or a closed terminal, is no failure.
            Err(error) if !stagger_report::is_closed(&error) => {
                Err(stagger_report::ReportError::Output { source: error }.into())
            }
            _ => Ok(()),
        }
    }
}
