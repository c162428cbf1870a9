//! Hearing events, or that nothing moves.

use std::time::Duration;

use stagger_transport::sync::mpsc::{Receiver, RecvTimeoutError};

use super::peers::{Peers, Reported};
use crate::board::{Board, Stall};

/// What a host hears.
pub(super) enum Heard {
    /// Something happened.
    Event(Reported),
    /// Nothing does.
    Stall(Stall),
}

/// Receives events, and notices when nothing moves any more.
pub(super) struct Watch<'a, P> {
    peers: &'a P,
    timeout: Option<Duration>,
    beats: u64,
    /// Since when nothing has moved.
    quiet: Duration,
}

impl<'a, P: Peers> Watch<'a, P> {
    pub fn new(timeout: Option<Duration>, peers: &'a P) -> Self {
        Self {
            peers,
            timeout,
            beats: 0,
            quiet: Duration::ZERO,
        }
    }

    /// The next event; `None` once all stages have ended. A stall is reported once.
    pub fn next(&mut self, events: &Receiver<Reported>, board: &Board) -> Option<Heard> {
        loop {
            let Some(wait) = [self.timeout, self.peers.beat_every()]
                .into_iter()
                .flatten()
                .min()
            else {
                return events.recv().ok().map(Heard::Event);
            };
            match events.recv_timeout(wait) {
                Ok(event) => {
                    self.quiet = Duration::ZERO;
                    return Some(Heard::Event(event));
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.peers.beat(board);
            let beats = board.beats();
            if beats != self.beats {
                self.beats = beats;
                self.quiet = Duration::ZERO;
                continue;
            }
            self.quiet += wait;
            if let Some(timeout) = self.timeout.filter(|timeout| self.quiet >= *timeout) {
                self.timeout = None;
                return Some(Heard::Stall(board.stall(timeout)));
            }
        }
    }
}
