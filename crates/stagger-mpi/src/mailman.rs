//! The thread that makes every call of MPI.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mpi::environment::{Universe, initialize_with_threading, library_version, processor_name};
use mpi::point_to_point::{Message, Status};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Source};
use mpi::{Rank, Tag, Threading};

use stagger_transport::world::Switchboard;

use crate::buffers::Transfer;
use crate::pulse::Pulse;
use crate::{Facts, LONGEST_PAUSE, Lost, MpiError};

/// The longest pause while a transfer is under way, which makes progress only in calls of MPI. At 1 Gbit/s no more comes meanwhile than
/// the buffers of a connection hold.
const LONGEST_PAUSE_IN_TRANSFERS: Duration = Duration::from_micros(200);

/// The shortest time that the thread sleeps.
const SHORTEST_PAUSE: Duration = Duration::from_micros(10);

/// The part of the time since something last moved that a pause takes: what comes is seen late by no more than this part of the time
/// that it took to come, and the longer nothing comes, the less processor time goes into looking.
const PAUSE_OF_QUIET: u32 = 16;

/// The most bytes of a message. Beyond 64 KiB Open MPI asks the receiver before it sends over TCP, which takes two more delays, and
/// the answer waits behind what goes the other way; and of a message that is long on its way the receiver hears nothing.
const PIECE_BYTES: usize = 60 * 1024;

/// The tag of a message that is a frame; an empty one says that its rank is there.
const FRAME: Tag = 0;
/// The tag of a message that says how long the next frame is, which comes in pieces.
const LENGTH: Tag = 1;
/// The tag of a message that is a piece of a frame.
const PIECE: Tag = 2;

/// The longest name of a host that ranks tell each other.
const HOST_BYTES: usize = 64;

/// What other threads ask for.
pub(super) enum Command {
    Send {
        to: usize,
        frame: Vec<u8>,
    },
    /// Look out for lost ranks.
    Watch {
        limit: Duration,
        on_lost: Box<dyn FnOnce(&Lost) + Send>,
    },
    /// Finalise, with all ranks.
    End,
    /// End every rank at once.
    Abort {
        status: i32,
    },
}

pub(super) struct Mailman {
    commands: Receiver<Command>,
    switchboard: Arc<Switchboard>,
    world: SimpleCommunicator,
    outgoing: Vec<Transfer>,
    /// By rank, oldest first: frames of one rank are delivered in the order in which they were sent.
    incoming: Vec<VecDeque<Incoming>>,
    pulse: Pulse,
    watch: Option<Watch>,
    /// The host of every rank.
    hosts: Vec<String>,
    /// Dropped last, which finalises MPI.
    universe: Universe,
}

enum Incoming {
    Under(Transfer),
    Here(Vec<u8>),
}

/// What happens when a rank is lost.
struct Watch {
    limit: Duration,
    on_lost: Box<dyn FnOnce(&Lost) + Send>,
}

impl Mailman {
    /// Initialises MPI on the calling thread, which then makes every other call, too.
    pub fn start(
        commands: Receiver<Command>,
        switchboard: Arc<Switchboard>,
    ) -> Result<Self, MpiError> {
        let (universe, granted) =
            initialize_with_threading(Threading::Funneled).ok_or(MpiError::Initialized)?;
        if granted < Threading::Funneled {
            let found = format!("{granted:?}").to_lowercase();
            return Err(MpiError::Threading { found });
        }
        let world = universe.world();
        let number = |count: Rank| usize::try_from(count).unwrap_or_default();
        let (rank, ranks) = (number(world.rank()), number(world.size()));
        Ok(Self {
            commands,
            switchboard,
            hosts: hosts(&world, ranks),
            world,
            outgoing: Vec::new(),
            incoming: (0..ranks).map(|_| VecDeque::new()).collect(),
            pulse: Pulse::new(rank, ranks, Instant::now()),
            watch: None,
            universe,
        })
    }

    pub fn facts(&self) -> Facts {
        Facts {
            rank: usize::try_from(self.world.rank()).unwrap_or_default(),
            size: self.incoming.len(),
            host: own_host(),
            library: library_version().map_or(String::new(), |library| without_end(&library)),
        }
    }

    /// Carries frames until the world ends.
    pub fn run(mut self) {
        let mut moved_at = Instant::now();
        loop {
            match self.commands.recv_timeout(self.pause(moved_at.elapsed())) {
                Ok(command) => {
                    moved_at = Instant::now();
                    if self.execute(command) {
                        break;
                    }
                }
                // The program has left the world without ending it, and can ask for nothing any more.
                Err(RecvTimeoutError::Disconnected) => self.world.abort(1),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.carry() {
                moved_at = Instant::now();
            }
            self.keep_in_touch();
        }
        self.end();
    }

    /// How long to sleep when nothing has moved for so long.
    fn pause(&self, quiet: Duration) -> Duration {
        let longest = match self.is_idle() {
            true => LONGEST_PAUSE,
            false => LONGEST_PAUSE_IN_TRANSFERS,
        };
        (quiet / PAUSE_OF_QUIET).clamp(SHORTEST_PAUSE, longest)
    }

    /// Returns whether the world ends.
    fn execute(&mut self, command: Command) -> bool {
        match command {
            Command::Send { to, frame } => {
                self.send(to, frame);
                false
            }
            Command::Watch { limit, on_lost } => {
                self.pulse.watch(limit, Instant::now());
                self.watch = Some(Watch { limit, on_lost });
                false
            }
            Command::End => true,
            Command::Abort { status } => {
                self.flush();
                self.world.abort(status)
            }
        }
    }

    fn send(&mut self, to: usize, frame: Vec<u8>) {
        let Ok(to) = Rank::try_from(to) else { return };
        let mut start = |tag, buffer| {
            let transfer = Transfer::send(&self.world, (to, tag), buffer, PIECE_BYTES);
            self.outgoing.push(transfer);
        };
        if frame.len() <= PIECE_BYTES {
            return start(FRAME, frame);
        }
        start(LENGTH, (frame.len() as u64).to_le_bytes().to_vec());
        start(PIECE, frame);
    }

    /// Tells other ranks that this one is here, and looks whether they are.
    fn keep_in_touch(&mut self) {
        let due = self.pulse.look(Instant::now());
        if due.sends {
            let peers: Vec<usize> = self.pulse.peers().collect();
            for peer in peers {
                self.send(peer, Vec::new());
            }
        }
        let Some(rank) = due.lost else { return };
        let Some(watch) = self.watch.take() else {
            return;
        };
        let lost = Lost {
            rank,
            host: self.hosts.get(rank).cloned().unwrap_or_default(),
            silent: watch.limit,
        };
        (watch.on_lost)(&lost);
        crate::exit_soon(1);
        self.world.abort(1)
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.iter().all(VecDeque::is_empty)
    }

    /// Looks once at everything that is under way and what has come. Returns whether anything moved but pieces and empty messages:
    /// those say nothing about when the next frame is there.
    fn carry(&mut self) -> bool {
        let before = self.outgoing.len();
        let under_way = std::mem::take(&mut self.outgoing).into_iter();
        self.outgoing = under_way
            .filter_map(|transfer| transfer.complete().err())
            .collect();
        let mut moved = self.outgoing.len() < before;
        while let Some((message, status)) = self.world.any_process().immediate_matched_probe() {
            self.take_in(message, &status);
        }
        for (from, line) in self.incoming.iter_mut().enumerate() {
            for incoming in line.iter_mut() {
                let before = std::mem::replace(incoming, Incoming::Here(Vec::new()));
                *incoming = match before {
                    Incoming::Under(transfer) => match transfer.complete() {
                        Ok(frame) => Incoming::Here(frame),
                        Err(transfer) => Incoming::Under(transfer),
                    },
                    here => here,
                };
            }
            while let Some(incoming) = line.pop_front() {
                match incoming {
                    Incoming::Here(frame) if frame.is_empty() => {}
                    Incoming::Here(frame) => {
                        moved = true;
                        self.switchboard.deliver(from, frame);
                    }
                    under => {
                        line.push_front(under);
                        break;
                    }
                }
            }
        }
        moved
    }

    /// Starts receiving a message. Those of one rank are found in the order in which it sent them.
    fn take_in(&mut self, message: Message, status: &Status) {
        let bytes = usize::try_from(status.count(u8::equivalent_datatype())).unwrap_or_default();
        let from = usize::try_from(status.source_rank()).unwrap_or(usize::MAX);
        self.pulse.heard(from, Instant::now());
        let Some(line) = self.incoming.get_mut(from) else {
            return;
        };
        match (status.tag(), line.back_mut()) {
            (PIECE, Some(Incoming::Under(transfer))) => transfer.receive(message, bytes),
            (LENGTH, _) => {
                let mut length = [0; 8];
                message.matched_receive_into(&mut length[..]);
                let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
                line.push_back(Incoming::Under(Transfer::to_fill(length)));
            }
            _ => {
                let mut transfer = Transfer::to_fill(bytes);
                transfer.receive(message, bytes);
                line.push_back(Incoming::Under(transfer));
            }
        }
    }

    /// Completes sends, for a second at most: a rank that is gone takes nothing any more.
    fn flush(&mut self) {
        for _ in 0..1_000 {
            self.carry();
            if self.outgoing.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for all ranks, and carries what comes meanwhile.
    fn end(mut self) {
        // Those that are left could not be sent any more once the other ranks have passed the barrier.
        while !self.outgoing.is_empty() {
            self.carry();
            self.keep_in_touch();
            while let Ok(command) = self.commands.try_recv() {
                self.execute(command);
            }
            std::thread::sleep(LONGEST_PAUSE_IN_TRANSFERS);
        }
        let mut barrier = Some(self.world.immediate_barrier());
        while let Some(request) = barrier.take() {
            barrier = request.test().err();
            while let Ok(command) = self.commands.try_recv() {
                self.execute(command);
            }
            self.carry();
            self.keep_in_touch();
            if barrier.is_some() {
                std::thread::sleep(LONGEST_PAUSE);
            }
        }
        while !self.is_idle() {
            self.carry();
        }
        drop(self.universe);
    }
}

/// A text without the zero byte that C ends it with, which some MPIs count.
fn without_end(text: &str) -> String {
    text.trim_end_matches(char::from(0)).trim().to_owned()
}

fn own_host() -> String {
    let name = processor_name().map(|name| without_end(&name));
    name.unwrap_or_else(|_| "a host without a name".to_owned())
}

/// The host of every rank, which all ranks tell each other.
fn hosts(world: &SimpleCommunicator, ranks: usize) -> Vec<String> {
    let mut own = own_host().into_bytes();
    own.resize(HOST_BYTES, 0);
    let mut all = vec![0; HOST_BYTES * ranks];
    world.all_gather_into(&own[..], &mut all[..]);
    let text = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        without_end(&name)
    };
    all.chunks(HOST_BYTES).map(text).collect()
}
