//! What people read: the terminal, and the log that keeps it.

use anyhow::{Context, Result};
use stagger_report::{CONFIG_FILE, ENVIRONMENT_FILE, Environment, LOG_FILE, RunFolder, RunLog};

use crate::commands::print;
use crate::failure::Failure;
use crate::flags::high::TrainJob;

/// Says lines to both.
pub struct Journal {
    pub log: RunLog,
}

impl Journal {
    /// Begins or goes on, and notes in the folder what is run where.
    pub fn open(folder: &RunFolder, job: &TrainJob) -> Result<Self, Failure> {
        folder.write(CONFIG_FILE, config(job)?.as_bytes())?;
        let environment =
            Environment::gather(env!("CARGO_PKG_VERSION"), option_env!("STAGGER_COMMIT"));
        folder.write(ENVIRONMENT_FILE, environment.to_json().as_bytes())?;
        Ok(Self {
            log: RunLog::append(&folder.file(LOG_FILE))?,
        })
    }

    /// One line or several.
    pub fn say(&self, text: &str) -> Result<()> {
        self.log.line(text)?;
        print(&format!("{text}\n"))?;
        Ok(())
    }
}

/// Every value that decides what the run does, as TOML.
pub fn config(job: &TrainJob) -> Result<String> {
    toml::to_string(&job.values).context("the config cannot be written as TOML")
}
