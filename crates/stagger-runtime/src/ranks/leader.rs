//! Rank 0: hears of all stages, and tells the others when to start and when to stop.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use stagger_transport::sync::mpsc::{Sender, SyncSender};
use stagger_transport::sync::{Mutex, lock};
use stagger_transport::{Placement, Ranks, World};

use super::messages::{self, Down, Up};
use crate::board::Board;
use crate::fault::RunError;
use crate::host::{End, Failure, Peers, Reported, Reports};
use stagger_schedule::Replicas;

pub(super) struct Leader {
    desk: Arc<Desk>,
}

/// Where the reports of all followers come together.
struct Desk {
    world: World,
    placement: Placement,
    replicas: Replicas,
    stretch: u32,
    /// By rank: where its reports go, until it has ended.
    lines: Mutex<Vec<Option<Line>>>,
    /// What followers have said of their ends.
    ends: Mutex<Vec<End>>,
    has_stopped: Mutex<bool>,
}

#[derive(Clone)]
struct Line {
    events: Sender<Reported>,
    ready: SyncSender<()>,
}

impl Leader {
    pub fn new(ranks: &Ranks, replicas: &Replicas) -> Self {
        let desk = Desk {
            world: ranks.world.clone(),
            placement: ranks.placement.clone(),
            replicas: replicas.clone(),
            stretch: ranks.stretch,
            lines: Mutex::new(Vec::new()),
            ends: Mutex::new(Vec::new()),
            has_stopped: Mutex::new(false),
        };
        Self {
            desk: Arc::new(desk),
        }
    }
}

impl Peers for Leader {
    fn listen(&self, reports: Reports) {
        let Reports {
            events,
            ready,
            failure,
            board,
        } = reports;
        let line = Line { events, ready };
        let followers = 1..self.desk.placement.ranks();
        for rank in followers.clone() {
            board.heard_of(rank, self.desk.placement.stages_of(rank));
        }
        let lines = followers.map(|_| Some(line.clone()));
        *lock(&self.desk.lines) = [None].into_iter().chain(lines).collect();
        drop(line);
        let desk = Arc::clone(&self.desk);
        let receive = move |from, frame: Vec<u8>| desk.receive(from, &frame, &failure, &board);
        let world = &self.desk.world;
        world.open(super::control_of(self.desk.stretch), Arc::new(receive));
    }

    fn awaited(&self, _own: usize, all: usize) -> usize {
        all
    }

    fn start(&self) -> Option<Instant> {
        self.desk.tell_all(&Down::Start);
        Some(Instant::now())
    }

    fn failed(&self, _error: &RunError) {
        self.desk.stop_all();
    }

    fn pass_on(&self, event: Reported) -> Option<Reported> {
        Some(event)
    }

    fn ends(&self, _own: &[End]) -> Vec<End> {
        std::mem::take(&mut *lock(&self.desk.ends))
    }
}

impl Desk {
    fn receive(&self, from: usize, frame: &[u8], failure: &Failure, board: &Board) {
        let message = match messages::read(frame) {
            Ok(message) => message,
            Err(message) => {
                let error = RunError::Rank {
                    rank: from,
                    message,
                };
                return self.fail(error, failure);
            }
        };
        let places = self.placement.stages_of(from);
        board.heard_of(from, places.clone());
        match message {
            Up::Ready => {
                let line = lock(&self.lines).get(from).cloned().flatten();
                let Some(line) = line else { return };
                for _ in places {
                    // There is room for all places; a receiver that is gone has stopped.
                    let _ = line.ready.send(());
                }
            }
            Up::Event(reported) if !self.comes_from(&reported, &places) => {
                let message = "it reports what happened on a stage of another rank".to_owned();
                let rank = from;
                self.fail(RunError::Rank { rank, message }, failure);
            }
            Up::Event(reported) => {
                let line = lock(&self.lines).get(from).cloned().flatten();
                if let Some(line) = line {
                    let _ = line.events.send(reported);
                }
            }
            Up::Failed(failed) => self.fail(failed.on(from), failure),
            Up::Doing { lines, beats } => {
                board.replace(places.start, lines.into_iter().take(places.len()));
                board.beats_of(from, beats);
            }
            Up::Ended(ends) => {
                board.has_ended(from);
                // Most often it has said why, or was told to. If not, the others must not wait for it.
                if ends.len() < places.len() {
                    let message = "it has ended before its stages have".to_owned();
                    let rank = from;
                    failure.suspect(RunError::Rank { rank, message });
                    self.stop_all();
                    failure.stop();
                }
                lock(&self.ends).extend(ends);
                if let Some(line) = lock(&self.lines).get_mut(from) {
                    *line = None;
                }
            }
        }
    }

    /// Whether an event is of a place of the rank that reports it.
    fn comes_from(&self, Reported { place, event }: &Reported, places: &Range<usize>) -> bool {
        let own = self.replicas.place(*place).stage;
        places.contains(place) && event.stage().is_none_or(|stage| stage == own)
    }

    fn fail(&self, error: RunError, failure: &Failure) {
        failure.keep(error, |_| {});
        self.stop_all();
        failure.stop();
    }

    fn stop_all(&self) {
        if !std::mem::replace(&mut *lock(&self.has_stopped), true) {
            self.tell_all(&Down::Stop);
        }
    }

    fn tell_all(&self, message: &Down) {
        for rank in 1..self.placement.ranks() {
            if let Ok(frame) = messages::write(self.stretch, message) {
                self.world.post(rank, frame);
            }
        }
    }
}
