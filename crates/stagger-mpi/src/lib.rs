//! The processes of a run, connected by the system's MPI: a `World` whose ranks are those of `mpirun` or a scheduler.
//!
//! One thread of the process makes every call of MPI, from initialising to finalising; the threads of stages hand it frames and
//! take what it delivers, so compute never waits for a transfer. Sends and receives do not block: two ranks that send to each
//! other make progress whatever the size. With nothing to do the thread sleeps, the longer the longer nothing has come, up to `LONGEST_PAUSE`, as a
//! blocking receive of MPI would take a core from the stages. Long frames travel in pieces, in their order. Rank 0 and every other
//! rank hear of each other once a second, so that a lost one is noticed (`Mpi::watch`).
//!
//! Without feature `mpi` the crate is empty, so that the workspace builds without an MPI.
#![cfg(feature = "mpi")]

mod buffers;
mod mailman;
mod pulse;

use std::fmt;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mailman::{Command, Mailman};
use stagger_transport::World;
use stagger_transport::world::{Carrier, Switchboard};

/// The longest time that the thread sleeps between two looks at what has come.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// How long a rank may be silent, where nothing else is said. A network that is gone for three seconds is used again after up to
/// seven, as TCP waits longer and longer before it tries again.
pub const RANK_TIMEOUT: Duration = Duration::from_secs(10);

/// The least that a rank may be silent: it tells of itself once a second, and later where its host is busy.
pub const LEAST_RANK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long MPI has to end this process with the others.
const GRACE: Duration = Duration::from_secs(5);

/// Why there is no world of MPI.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MpiError {
    /// The thread that calls MPI could not be started.
    #[error("the thread that calls MPI could not be started: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// MPI was initialised before.
    #[error("MPI has been initialised in this process already")]
    Initialized,
    /// MPI does not allow calls beside other threads.
    #[error(
        "this MPI does not support programs with several threads: it grants {found}, and `funneled` is needed"
    )]
    Threading {
        /// What it grants.
        found: String,
    },
    /// The thread ended before MPI was there.
    #[error("MPI could not be initialised")]
    Failed,
}

/// The processes that `mpirun`, or a scheduler, has started together. To be [ended](Mpi::end), on every rank.
pub struct Mpi {
    world: World,
    host: String,
    library: String,
    post: Arc<Post>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread that calls MPI says of the world.
struct Facts {
    rank: usize,
    size: usize,
    host: String,
    library: String,
}

/// A rank that has not been heard of for too long: its process is stopped, or its host or the network to it is gone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lost {
    /// Which.
    pub rank: usize,
    /// The name of its host.
    pub host: String,
    /// For how long it has been silent.
    pub silent: Duration,
}

/// Hands commands to the thread that calls MPI.
struct Post(Mutex<Sender<Command>>);

impl Post {
    fn send(&self, command: Command) {
        // A thread that is gone has ended the world.
        let commands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = commands.send(command);
    }
}

impl Carrier for Post {
    fn post(&self, to: usize, frame: Vec<u8>) {
        self.send(Command::Send { to, frame });
    }
}

impl Mpi {
    /// Initialises MPI. To be called once.
    ///
    /// # Errors
    /// When MPI cannot be initialised, or not for programs with threads.
    pub fn start() -> Result<Self, MpiError> {
        let switchboard = Arc::new(Switchboard::default());
        let delivers = Arc::clone(&switchboard);
        let (commands_in, commands) = channel();
        let (facts_in, facts) = sync_channel(1);
        let work = move || {
            let mailman = match Mailman::start(commands, delivers) {
                Ok(mailman) => mailman,
                Err(error) => {
                    let _ = facts_in.send(Err(error));
                    return;
                }
            };
            let _ = facts_in.send(Ok(mailman.facts()));
            mailman.run();
        };
        let named = thread::Builder::new().name("mpi".to_owned());
        let thread = named
            .spawn(work)
            .map_err(|source| MpiError::Thread { source })?;
        let Facts {
            rank,
            size,
            host,
            library,
        } = facts.recv().map_err(|_| MpiError::Failed)??;
        let post = Arc::new(Post(Mutex::new(commands_in)));
        let carrier: Arc<dyn Carrier> = Arc::clone(&post) as _;
        Ok(Self {
            world: World::new(rank, size, carrier, switchboard),
            host,
            library,
            post,
            thread: Some(thread),
        })
    }

    /// The processes.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The name of this host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The MPI, with its version.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// From now on, rank 0 watches all other ranks, and these watch rank 0: where one is not heard of for `limit`, `on_lost` is called
    /// on the thread that calls MPI, and then all ranks are ended with status 1. That thread tells of its rank once a second whatever
    /// the stages do, and what comes in pieces counts while it comes, so a limit of some seconds does for slow networks, too. A limit below
    /// [`LEAST_RANK_TIMEOUT`] is taken to be that.
    pub fn watch(&self, limit: Duration, on_lost: impl FnOnce(&Lost) + Send + 'static) {
        self.post.send(Command::Watch {
            limit: limit.max(LEAST_RANK_TIMEOUT),
            on_lost: Box::new(on_lost),
        });
    }

    /// Sends what is still to be sent, waits until every rank is here, and finalises MPI.
    pub fn end(mut self) {
        self.post.send(Command::End);
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process.
            let _ = thread.join();
        }
    }

    /// What ends all ranks at once, from any thread.
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.post))
    }
}

impl Drop for Mpi {
    /// A world that was not ended has failed: the other ranks would wait for this one for ever. Ends this process with the others,
    /// so an error that a program has to tell is told before.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.killer().kill(1);
        }
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi")
            .field("world", &self.world)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Ends all ranks at once.
#[derive(Clone)]
pub struct Killer(Arc<Post>);

impl Killer {
    /// Ends every process of the world with this exit status, after what was sent before. Does not return.
    pub fn kill(&self, status: i32) -> ! {
        self.0.send(Command::Abort { status });
        // MPI ends this process too. Should it hang, the launcher sees this end.
        thread::sleep(GRACE);
        std::process::exit(status)
    }
}

/// Ends this process after a while, should MPI not do it.
fn exit_soon(status: i32) {
    let exit = move || {
        thread::sleep(GRACE);
        std::process::exit(status)
    };
    // Without the thread MPI alone has to do it.
    let _ = thread::Builder::new().spawn(exit);
}

impl fmt::Debug for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Killer")
    }
}
