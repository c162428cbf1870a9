//! The screen of a training run on its own terminal.

use anyhow::anyhow;
use stagger::{Interrupt, Prepared, Training};
use stagger_dashboard::{Live, Palette, is_possible};

use crate::failure::Failure;
use crate::signals;

/// The screen of a run, where it was asked for.
#[derive(Clone)]
pub struct RunScreen {
    live: Live,
}

impl RunScreen {
    /// A screen that shows nothing yet.
    pub fn new() -> Result<Self, Failure> {
        if !is_possible() {
            return Err(anyhow!(
                "--tui draws on a terminal, and the standard input or output is none, or TERM is dumb; leave it out, and watch the run \
                 with `stagger watch` from a terminal"
            )
            .into());
        }
        let live = Live::new(Palette::of_environment());
        Ok(Self { live })
    }

    /// Adds it to a run, whose lines go to the log only while it is up.
    pub fn on<'a>(&self, training: Training<'a>) -> Training<'a> {
        let end = || std::process::exit(130);
        training
            .silent_while(self.live.is_up())
            .sink(self.live.sink(end))
    }

    /// Says where training begins, or begins again.
    pub fn begin(&self, tally: &stagger::report::EpochTally) {
        self.live.begin(tally);
    }

    /// Says what the run is, and what interrupts it.
    pub fn describe(&self, run: &Prepared<'_>, interrupt: &Interrupt) {
        let job = run.job();
        let resumed = run.resumed().map(std::path::Path::to_owned);
        self.live.describe(
            &run.facts(),
            &job.schedule,
            &job.horizon,
            interrupt,
            resumed,
        );
    }

    /// Listens for signals, with the terminal given back before the second one ends the process.
    pub fn listen(&self, interrupt: &Interrupt) -> Result<(), Failure> {
        Ok(signals::listen_on_screen(interrupt)?)
    }
}

/// Gives the terminal back before something else is written to it.
pub fn restore() {
    stagger_dashboard::restore();
}
