//! Ending a run after some time as if it had been planned to end there.

use std::time::{Duration, Instant};

use stagger_runtime::{Interrupt, Outcome};

/// Asks the run to end once it has trained for as long as it may.
pub struct TimeLimit<'a> {
    limit: Option<Duration>,
    began: Instant,
    interrupt: &'a Interrupt,
    /// Whether this limit was the first to ask.
    asked: bool,
}

impl<'a> TimeLimit<'a> {
    /// Counted from now. What the run has trained before it was resumed does not count: the limit is that of this process,
    /// as batch systems give it.
    pub fn new(limit: Option<Duration>, interrupt: &'a Interrupt) -> Self {
        Self {
            limit,
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
