//! Receivers of events.

use stagger_runtime::{Event, Outcome, RunError};

use crate::error::ReportError;

/// A receiver of events: the console, a file, a dashboard.
pub trait Sink {
    /// Takes the next event, in the order in which the runtime emits them.
    ///
    /// # Errors
    /// When the sink can do its work no longer; this ends the run.
    fn event(&mut self, event: &Event) -> Result<(), ReportError>;

    /// Called once, after the last event, with how the run ended: also after a failure.
    ///
    /// # Errors
    /// When what is left to be written cannot be.
    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError>;
}

/// Several sinks as one. All of them get every event; the first error is returned after that.
#[derive(Default)]
pub struct Sinks {
    sinks: Vec<Box<dyn Sink>>,
}

impl Sinks {
    /// No sink at all: events are dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink behind those that are there.
    pub fn push(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    fn each(
        &mut self,
        mut work: impl FnMut(&mut dyn Sink) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let mut first_error = Ok(());
        for sink in &mut self.sinks {
            let done = work(sink.as_mut());
            first_error = first_error.and(done);
        }
        first_error
    }
}

impl Sink for Sinks {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.each(|sink| sink.event(event))
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.each(|sink| sink.finish(end))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::path::Path;
    use std::rc::Rc;

    use super::*;

    struct Counter {
        calls: Rc<Cell<usize>>,
        fails_with: Option<&'static str>,
    }

    impl Counter {
        fn count(&self) -> Result<(), ReportError> {
            self.calls.set(self.calls.get() + 1);
            let fail = |doing| {
                let source = io::Error::other("broken");
                Err(ReportError::io(doing, Path::new("x"), source))
            };
            self.fails_with.map_or(Ok(()), fail)
        }
    }

    impl Sink for Counter {
        fn event(&mut self, _: &Event) -> Result<(), ReportError> {
            self.count()
        }

        fn finish(&mut self, _: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
            self.count()
        }
    }

    #[test]
    fn a_broken_sink_does_not_starve_the_others() {
        let calls = Rc::new(Cell::new(0));
        let mut sinks = Sinks::new();
        for fails_with in [None, Some("first"), Some("second"), None] {
            sinks.push(Counter {
                calls: Rc::clone(&calls),
                fails_with,
            });
        }
        let error = sinks
            .event(&Event::Started { stages: 1 })
            .unwrap_err()
            .to_string();
        assert_eq!(error, "could not first x: broken");
        assert_eq!(calls.get(), 4);
        let failure = RunError::Event("broken".into());
        assert!(sinks.finish(Err(&failure)).is_err());
        assert_eq!(calls.get(), 8);
    }

    #[test]
    fn no_sinks_drop_events() {
        assert!(Sinks::new().event(&Event::Started { stages: 1 }).is_ok());
    }
}
