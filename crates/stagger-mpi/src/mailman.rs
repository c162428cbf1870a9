//! The thread that makes every call of MPI.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use mpi::Rank;
use mpi::Threading;
use mpi::environment::{Universe, initialize_with_threading, library_version, processor_name};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Source};

use stagger_transport::world::Switchboard;

use crate::buffers::Transfer;
use crate::{Facts, LONGEST_PAUSE, MpiError};

/// The longest pause while a transfer is under way, which makes progress only in calls of MPI.
const LONGEST_PAUSE_IN_TRANSFERS: Duration = Duration::from_micros(100);

/// The shortest time that the thread sleeps.
const SHORTEST_PAUSE: Duration = Duration::from_micros(10);

/// What other threads ask for.
pub(super) enum Command {
    Send {
        to: usize,
        frame: Vec<u8>,
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
    /// Dropped last, which finalises MPI.
    universe: Universe,
}

enum Incoming {
    Under(Transfer),
    Here(Vec<u8>),
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
        let ranks = usize::try_from(world.size()).unwrap_or_default();
        Ok(Self {
            commands,
            switchboard,
            world,
            outgoing: Vec::new(),
            incoming: (0..ranks).map(|_| VecDeque::new()).collect(),
            universe,
        })
    }

    pub fn facts(&self) -> Facts {
        Facts {
            rank: usize::try_from(self.world.rank()).unwrap_or_default(),
            size: self.incoming.len(),
            host: processor_name().unwrap_or_else(|_| "a host without a name".to_owned()),
            library: library_version().unwrap_or_default(),
        }
    }

    /// Carries frames until the world ends.
    pub fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.commands.recv_timeout(pause) {
                Ok(command) => {
                    pause = SHORTEST_PAUSE;
                    if self.execute(command) {
                        break;
                    }
                }
                // The program has left the world without ending it, and can ask for nothing any more.
                Err(RecvTimeoutError::Disconnected) => self.world.abort(1),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let moved = self.carry();
            let longest = match self.is_idle() {
                true => LONGEST_PAUSE,
                false => LONGEST_PAUSE_IN_TRANSFERS,
            };
            pause = match moved {
                true => SHORTEST_PAUSE,
                false => (2 * pause).min(longest),
            };
        }
        self.end();
    }

    /// Returns whether the world ends.
    fn execute(&mut self, command: Command) -> bool {
        match command {
            Command::Send { to, frame } => {
                if let (Ok(to), Ok(_)) = (Rank::try_from(to), i32::try_from(frame.len())) {
                    self.outgoing.push(Transfer::send(&self.world, to, frame));
                    return false;
                }
                // More than MPI counts. The run cannot continue without it, and all ranks have to hear of it.
                eprintln!(
                    "stagger: a message of {} bytes to rank {to} is more than MPI carries at once",
                    frame.len()
                );
                self.world.abort(1)
            }
            Command::End => true,
            Command::Abort { status } => {
                self.flush();
                self.world.abort(status)
            }
        }
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.iter().all(VecDeque::is_empty)
    }

    /// Looks once at everything that is under way and what has come. Returns whether anything moved.
    fn carry(&mut self) -> bool {
        let before = self.outgoing.len();
        let under_way = std::mem::take(&mut self.outgoing).into_iter();
        self.outgoing = under_way
            .filter_map(|transfer| transfer.complete().err())
            .collect();
        let mut moved = self.outgoing.len() < before;
        while let Some((message, status)) = self.world.any_process().immediate_matched_probe() {
            moved = true;
            let bytes = usize::try_from(status.count(u8::equivalent_datatype()));
            let from = usize::try_from(status.source_rank());
            let transfer = Transfer::receive(message, bytes.unwrap_or_default());
            if let Some(line) = self.incoming.get_mut(from.unwrap_or(usize::MAX)) {
                line.push_back(Incoming::Under(transfer));
            }
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
