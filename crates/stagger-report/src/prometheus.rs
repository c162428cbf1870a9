//! Figures of a run for Prometheus, over HTTP: what Grafana draws of a run that lasts for hours.

mod exposition;
mod figures;
mod http;
mod listener;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stagger_runtime::{Event, Outcome, RunError};

use self::figures::Figures;
use self::listener::Listener;
use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::sink::Sink;

/// Answers `GET /metrics` with the figures of a run in Prometheus' text format 0.0.4, from a thread of its own, until it is dropped.
///
/// Events only change numbers behind a lock; text is made of them when it is asked for. One connection is served at a time, for at most
/// some seconds, and no more than 8 KiB of a request are read: a client cannot hold up the run or take its memory.
///
/// # Examples
///
/// ```no_run
/// use stagger_report::MetricsServer;
///
/// let server = MetricsServer::start("127.0.0.1:9100")?;
/// println!("http://{}/metrics", server.address());
/// # Ok::<(), stagger_report::ReportError>(())
/// ```
#[derive(Debug)]
pub struct MetricsServer {
    listener: Listener,
    shared: Shared,
}

/// The figures of a run, between the thread that takes events and the one that answers.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Figures>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures as text. The lock is held for as long as it takes to copy them.
    fn text(&self) -> String {
        let figures = self.lock().clone();
        figures.text()
    }
}

impl MetricsServer {
    /// Begins to listen at `HOST:PORT`, such as `127.0.0.1:9100` or `[::1]:9100`. With port 0 the system chooses one.
    ///
    /// # Errors
    /// [`ReportError::Address`] when it is no such address, [`ReportError::Listen`] when it cannot be listened at: the port is in use, or
    /// the host is another one.
    pub fn start(address: &str) -> Result<Self, ReportError> {
        let refused = |source| ReportError::Listen {
            address: address.to_owned(),
            source,
        };
        if !listener::is_address(address) {
            let address = address.to_owned();
            return Err(ReportError::Address { address });
        }
        let shared = Shared::default();
        let answers = shared.clone();
        let socket = TcpListener::bind(address).map_err(refused)?;
        let listener = Listener::start(socket, move || answers.text()).map_err(refused)?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Whether other hosts can reach it.
    pub fn is_open_to_others(&self) -> bool {
        !self.address().ip().is_loopback()
    }

    /// Says what run it is: names of labels, which are words of ASCII, and their values, which may be any text.
    pub fn describe(&self, labels: impl IntoIterator<Item = (&'static str, String)>) {
        self.shared.lock().describe(labels);
    }

    /// A sink that feeds it with the events of the run. After a rollback the run has a new sink.
    #[must_use]
    pub fn watch(&self) -> MetricsWatch {
        MetricsWatch(self.shared.clone())
    }
}

/// Makes the sinks of a [`MetricsServer`]; what they show is there until the server is dropped.
#[derive(Clone, Debug)]
pub struct MetricsWatch(Shared);

impl MetricsWatch {
    /// A sink of a run, or of what follows a rollback. `tally` is that of the run.
    #[must_use]
    pub fn sink(&self, tally: EpochTally) -> impl Sink + use<> {
        self.0.lock().begin(tally);
        Watching(self.0.clone())
    }
}

#[derive(Debug)]
struct Watching(Shared);

impl Sink for Watching {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.0.lock().event(event);
        Ok(())
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
