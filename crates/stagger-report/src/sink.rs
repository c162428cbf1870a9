//! Receivers of events.

use stagger_runtime::{Event, Outcome, RunError};

use crate::error::ReportError;

/// A receiver of events: the console, a file, a dashboard.
///
/// # Examples
///
/// ```
/// use stagger_report::{ReportError, Sink};
/// use stagger_runtime::Event;
///
/// /// Keeps the highest loss of a run.
/// #[derive(Default)]
/// struct HighestLoss(f32);
///
/// impl Sink for HighestLoss {
///     fn event(&mut self, event: &Event) -> Result<(), ReportError> {
///         if let Event::Trained { loss, .. } = event {
///             self.0 = self.0.max(*loss);
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// Push it into [`Sinks`] by value, or as `&mut` to read it after the run. An error of its own becomes a
/// [`ReportError`] by [`ReportError::of_sink`]:
///
/// ```
/// # use std::io::Write;
/// # use stagger_report::{ReportError, Sink};
/// # use stagger_runtime::Event;
/// struct Losses<W>(W);
///
/// impl<W: Write> Sink for Losses<W> {
///     fn event(&mut self, event: &Event) -> Result<(), ReportError> {
///         if let Event::Trained { batch, loss, .. } = event {
///             writeln!(self.0, "{batch},{loss}").map_err(ReportError::of_sink)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Sink {
    /// Takes the next event, in the order in which the runtime emits them.
    ///
    /// # Errors
    /// When the sink cannot do its work any more; this ends the run.
    fn event(&mut self, event: &Event) -> Result<(), ReportError>;

    /// Called once, after the last event, with how the run ended: also after a failure. Does nothing by default.
    ///
    /// # Errors
    /// When the rest cannot be written.
    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let _ = end;
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        (**self).event(event)
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        (**self).finish(end)
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        (**self).event(event)
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        (**self).finish(end)
    }
}

/// Several sinks as one. They get every event in the order in which they were pushed, up to the first that fails: what comes
/// after it may rely on what comes before, as a snapshot relies on its metrics. All of them get the end of the run.
#[derive(Default)]
pub struct Sinks<'a> {
    sinks: Vec<Box<dyn Sink + 'a>>,
}

impl<'a> Sinks<'a> {
    /// No sink: events are dropped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink after the others.
    pub fn push(&mut self, sink: impl Sink + 'a) {
        self.sinks.push(Box::new(sink));
    }
}

impl Sink for Sinks<'_> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.sinks.iter_mut().try_for_each(|sink| sink.event(event))
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let ends = self.sinks.iter_mut().map(|sink| sink.finish(end));
        // Each is told, whatever becomes of the others.
        ends.fold(Ok(()), Result::and)
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
    fn a_sink_behind_a_broken_one_gets_no_event_but_the_end() {
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
        assert_eq!(calls.get(), 2);
        let failure = RunError::Event("broken".into());
        let error = sinks.finish(Err(&failure)).unwrap_err().to_string();
        assert_eq!(error, "could not first x: broken");
        assert_eq!(calls.get(), 6);
    }

    /// What a program does with a sink that it reads after the run.
    #[test]
    fn a_sink_may_be_borrowed_and_its_error_keeps_its_words() {
        struct Stages {
            count: usize,
            finished: bool,
        }

        impl Sink for Stages {
            fn event(&mut self, event: &Event) -> Result<(), ReportError> {
                match event {
                    Event::Started { stages } => self.count = *stages,
                    _ => return Err(ReportError::of_sink("the dashboard is gone")),
                }
                Ok(())
            }

            fn finish(&mut self, _: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
                self.finished = true;
                Ok(())
            }
        }

        let mut seen = Stages {
            count: 0,
            finished: false,
        };
        let mut sinks = Sinks::new();
        sinks.push(&mut seen);
        sinks.event(&Event::Started { stages: 3 }).unwrap();
        let error = sinks.event(&Event::Interrupted { batch: 1 }).unwrap_err();
        assert_eq!(error.to_string(), "the dashboard is gone");
        sinks
            .finish(Err(&RunError::Event("broken".into())))
            .unwrap();
        drop(sinks);
        assert_eq!((seen.count, seen.finished), (3, true));
    }

    #[test]
    fn no_sinks_drop_events() {
        assert!(Sinks::new().event(&Event::Started { stages: 1 }).is_ok());
    }
}
