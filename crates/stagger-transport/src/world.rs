//! The processes of a run, as one of them sees them: its rank, how many there are, and frames to and from them.
//!
//! What carries frames is a [`Carrier`]: MPI between processes, or [`in_process`] for worlds whose ranks are groups of threads.
//! A [`World`] sorts what arrives by [`Address`]: the ends of hops and the control lane each have a receiver. Frames that come
//! before their receiver is there wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::sync::{Mutex, lock};
use crate::wire::{Address, address};

/// Takes frames to other ranks.
pub trait Carrier: Send + Sync {
    /// Sends a frame: all frames from one rank to another arrive once, in the order of the calls. Never waits for the receiver.
    fn post(&self, to: usize, frame: Vec<u8>);
}

/// Takes the frames of an address, with the rank of their sender. It must not wait, nor open or close an address.
pub type Receiver = Arc<dyn Fn(usize, Vec<u8>) + Send + Sync>;

/// Frames that wait for a receiver, per address. A rank is ahead of another by a stretch at most, and then by what its lanes hold.
const MOST_WAITING: usize = 4096;

/// The processes of a run, as one of them sees them. Cheap to clone.
#[derive(Clone)]
pub struct World {
    rank: usize,
    size: usize,
    carrier: Arc<dyn Carrier>,
    switchboard: Arc<Switchboard>,
}

impl World {
    /// The world of a rank among `size`: `switchboard` is where its carrier delivers.
    pub fn new(
        rank: usize,
        size: usize,
        carrier: Arc<dyn Carrier>,
        switchboard: Arc<Switchboard>,
    ) -> Self {
        Self {
            rank,
            size,
            carrier,
            switchboard,
        }
    }

    /// This process, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Sends a frame, which says itself where it belongs.
    pub fn post(&self, to: usize, frame: Vec<u8>) {
        self.carrier.post(to, frame);
    }

    /// From now on this receives what comes to an address, beginning with what has come already.
    pub fn open(&self, address: Address, receiver: Receiver) {
        self.switchboard.open(address, receiver);
    }

    /// From now on what comes to an address is dropped.
    pub fn close(&self, address: Address) {
        lock(&self.switchboard.lines).insert(address, Line::Closed);
    }

    /// From now on what belongs to earlier stretches is dropped, and nothing is remembered of them.
    pub fn forget_before(&self, stretch: u32) {
        let is_later = |address: &Address| is_current(*address, stretch);
        lock(&self.switchboard.lines).retain(|address, _| is_later(address));
        *lock(&self.switchboard.first_stretch) = stretch;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("rank", &self.rank)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Sorts frames by their address.
#[derive(Default)]
pub struct Switchboard {
    lines: Mutex<HashMap<Address, Line>>,
    /// What is of an earlier one is dropped.
    first_stretch: Mutex<u32>,
}

enum Line {
    /// Frames that wait for a receiver, with their senders.
    Waiting(Vec<(usize, Vec<u8>)>),
    Open(Receiver),
    Closed,
}

/// Whether an address is of no earlier stretch than this one.
fn is_current(address: Address, first: u32) -> bool {
    address.stretch() >= first || address == Address::Control { stretch: 0 }
}

impl Switchboard {
    /// Takes a frame that a carrier has brought. One that is no frame goes to the control lane between stretches.
    pub fn deliver(&self, from: usize, frame: Vec<u8>) {
        let address = address(&frame).unwrap_or(Address::Control { stretch: 0 });
        if !is_current(address, *lock(&self.first_stretch)) {
            return;
        }
        let mut lines = lock(&self.lines);
        let line = lines
            .entry(address)
            .or_insert_with(|| Line::Waiting(Vec::new()));
        match line {
            Line::Open(receiver) => {
                let receiver = Arc::clone(receiver);
                drop(lines);
                receiver(from, frame);
            }
            Line::Waiting(frames) if frames.len() < MOST_WAITING => frames.push((from, frame)),
            Line::Waiting(_) | Line::Closed => {}
        }
    }

    fn open(&self, address: Address, receiver: Receiver) {
        let mut lines = lock(&self.lines);
        let before = lines.insert(address, Line::Open(Arc::clone(&receiver)));
        if let Some(Line::Waiting(frames)) = before {
            // With the lock held, so that none overtakes them.
            for (from, frame) in frames {
                receiver(from, frame);
            }
        }
    }
}

/// Worlds whose ranks are threads of this process: for tests, and to see how a run is shared out without a network.
pub fn in_process(size: usize) -> Vec<World> {
    let switchboards: Arc<[Arc<Switchboard>]> = (0..size).map(|_| Arc::default()).collect();
    let world = |rank: usize| {
        let carrier = Arc::new(InProcess {
            rank,
            switchboards: Arc::clone(&switchboards),
        });
        World::new(rank, size, carrier, Arc::clone(&switchboards[rank]))
    };
    (0..size).map(world).collect()
}

struct InProcess {
    rank: usize,
    switchboards: Arc<[Arc<Switchboard>]>,
}

impl Carrier for InProcess {
    fn post(&self, to: usize, frame: Vec<u8>) {
        if let Some(switchboard) = self.switchboards.get(to) {
            switchboard.deliver(self.rank, frame);
        }
    }
}
