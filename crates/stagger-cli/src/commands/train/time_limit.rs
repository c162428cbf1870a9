//! Ending a run after some time as if it had been planned to end there.

use std::time::{Duration, Instant};

use stagger_report::{LAST_WEIGHTS_FILE, RunFolder, read_weights};
use stagger_runtime::{Event, Interrupt, Outcome};

use crate::commands::eval;
use crate::failure::Failure;
use crate::flags::high::TrainJob;

/// Asks the run to end once it has trained for as long as it may.
pub struct TimeLimit<'a> {
    limit: Option<Duration>,
    began: Instant,
    interrupt: &'a Interrupt,
    /// Whether this limit was the first to ask.
    asked: bool,
}

impl<'a> TimeLimit<'a> {
    /// Of a run that has trained for `before` already.
    pub fn new(limit: Option<Duration>, before: Duration, interrupt: &'a Interrupt) -> Self {
        Self {
            limit: limit.map(|limit| limit.saturating_sub(before)),
            began: Instant::now(),
            interrupt,
            asked: false,
        }
    }

    /// To be called now and then.
    pub fn look(&mut self) {
        if self
            .limit
            .is_some_and(|limit| self.began.elapsed() >= limit)
        {
            self.limit = None;
            self.asked = !self.interrupt.request();
        }
    }

    /// Whether it was this limit that cut the run short.
    pub fn ended_the_run(&self, outcome: &Outcome) -> bool {
        self.asked && outcome.interrupted
    }
}

/// A run that ends at its time limit, wherever that is, is evaluated there as any other.
pub fn evaluate_the_end(
    job: &TrainJob,
    folder: &RunFolder,
    last: usize,
) -> Result<Option<Event>, Failure> {
    let due = job.values.evaluate != Some(false);
    if !due || last == 0 || job.horizon.evaluate_at.contains(&last) {
        return Ok(None);
    }
    let weights = read_weights(&folder.file(LAST_WEIGHTS_FILE))
        .map_err(|error| Failure::Run(error.into()))?;
    let states = eval::stage_states(job, &weights.state);
    let mut evaluated = eval::evaluate(job, &states, &Interrupt::new())?;
    if let Some(Event::Evaluated { version, .. }) = &mut evaluated {
        *version = last;
    }
    Ok(evaluated)
}
