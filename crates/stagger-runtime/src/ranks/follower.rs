//! A rank that is not rank 0: reports to it, and starts and stops when it says so.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagger_transport::sync::mpsc::{Receiver, Sender, channel};
use stagger_transport::sync::{Mutex, lock};
use stagger_transport::{Ranks, World};

use super::messages::{self, Down, Failed, Up};
use crate::board::Board;
use crate::fault::RunError;
use crate::host::{End, Peers, Reported, Reports};

/// How often the leader hears of a rank that has no events, or more often where it watches for short stalls.
const BEAT: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    world: World,
    stretch: u32,
    places: Range<usize>,
    /// How often the leader has to hear of this rank; `None` where it does not watch for stalls.
    beat: Option<Duration>,
    start_in: Mutex<Option<Sender<()>>>,
    start_out: Mutex<Receiver<()>>,
}

impl Follower {
    /// A follower of a leader that ends the run when nothing moves for `stall_timeout`.
    pub fn new(ranks: &Ranks, stall_timeout: Option<Duration>) -> Self {
        let (start_in, start_out) = channel();
        Self {
            world: ranks.world.clone(),
            stretch: ranks.stretch,
            places: ranks.placement.stages_of(ranks.world.rank()),
            beat: stall_timeout.map(|timeout| BEAT.min(timeout / 4)),
            start_in: Mutex::new(Some(start_in)),
            start_out: Mutex::new(start_out),
        }
    }

    fn report(&self, message: &Up) {
        if let Ok(frame) = messages::write(self.stretch, message) {
            self.world.post(0, frame);
        }
    }
}

impl Peers for Follower {
    fn listen(&self, reports: Reports) {
        let failure = reports.failure;
        let start = Mutex::new(lock(&self.start_in).take());
        let receive = move |from: usize, frame: Vec<u8>| {
            if from != 0 {
                return;
            }
            if let Ok(Down::Start) = messages::read(&frame) {
                if let Some(start) = lock(&start).take() {
                    // A receiver that is gone has failed.
                    let _ = start.send(());
                }
                return;
            }
            // Also where it cannot be read: the leader hears that this rank ended early.
            lock(&start).take();
            failure.stop();
        };
        let address = super::control_of(self.stretch);
        self.world.open(address, Arc::new(receive));
    }

    fn awaited(&self, own: usize, _all: usize) -> usize {
        own
    }

    fn start(&self) -> Option<Instant> {
        self.report(&Up::Ready);
        lock(&self.start_out).recv().ok()?;
        Some(Instant::now())
    }

    fn failed(&self, error: &RunError) {
        self.report(&Up::Failed(Failed::from(error)));
    }

    fn hears(&self) -> bool {
        false
    }

    fn pass_on(&self, event: Reported) -> Option<Reported> {
        self.report(&Up::Event(event));
        None
    }

    fn ends(&self, own: &[End]) -> Vec<End> {
        self.report(&Up::Ended(own.to_vec()));
        Vec::new()
    }

    fn beat_every(&self) -> Option<Duration> {
        self.beat
    }

    fn beat(&self, board: &Board) {
        self.report(&Up::Doing {
            lines: board.lines(self.places.clone()),
            beats: board.beats(),
        });
    }
}
