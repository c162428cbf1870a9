//! The lines for people: on the console, and in the log that keeps them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stagger_data::{shown_lines, shown_text};
use stagger_report::{
    CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, Environment, LOG_FILE, RunFolder, RunLog, Unprinted,
};

use crate::config_file;
use crate::data_file;
use crate::error::Error;
use crate::job::Job;

/// Writes lines to both, or to the one that is wanted. A console that cannot be written keeps no run from its end.
pub struct Journal {
    pub log: Option<RunLog>,
    /// What kept lines from the console.
    pub unprinted: Unprinted,
    console: bool,
    /// While it is raised, nothing goes to the console.
    is_silent: Arc<AtomicBool>,
}

impl Journal {
    /// Creates or continues the log of a run that has a folder, and writes config, facts about the data and environment there.
    pub fn open(
        folder: Option<&RunFolder>,
        job: &Job,
        commit: Option<&str>,
        console: bool,
    ) -> Result<Self, Error> {
        let unprinted = Unprinted::default();
        let Some(folder) = folder else {
            return Ok(Self {
                log: None,
                unprinted,
                console,
                is_silent: Arc::default(),
            });
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
            unprinted,
            console,
            is_silent: Arc::default(),
        })
    }

    /// The same with a console that gets nothing while this is raised.
    pub fn silent_while(self, is_silent: Arc<AtomicBool>) -> Self {
        Self { is_silent, ..self }
    }

    /// Writes one line, whatever it quotes.
    pub fn say(&self, line: &str) -> Result<(), Error> {
        self.say_lines(&shown_text(line))
    }

    /// Writes one line or several, which quote nothing.
    pub fn say_lines(&self, lines: &str) -> Result<(), Error> {
        if let Some(log) = &self.log {
            log.line(lines)?;
        }
        self.print_lines(lines);
        Ok(())
    }

    /// Writes one line to the console only, whatever it quotes.
    pub fn print(&self, line: &str) {
        self.print_lines(&shown_text(line));
    }

    fn print_lines(&self, lines: &str) {
        if self.console && !self.is_silent.load(Ordering::SeqCst) {
            let text = shown_lines(lines) + "\n";
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            self.unprinted.note(written);
        }
    }
}
