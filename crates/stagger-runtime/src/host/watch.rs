//! Hearing events, or that nothing moves.

use std::time::Duration;

use stagger_transport::sync::mpsc::{Receiver, RecvTimeoutError};

use super::peers::Peers;
use crate::board::Board;
use crate::event::Event;

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
    pub fn next(&mut self, events: &Receiver<Event>, board: &Board) -> Option<Event> {
        loop {
            let Some(wait) = [self.timeout, self.peers.beat_every()]
                .into_iter()
                .flatten()
                .min()
            else {
                return events.recv().ok();
            };
            match events.recv_timeout(wait) {
                Ok(event) => {
                    self.quiet = Duration::ZERO;
                    return Some(event);
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
                return Some(Event::Stalled(board.stall(timeout)));
            }
        }
    }
}
