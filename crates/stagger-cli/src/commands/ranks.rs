//! One of several processes that `mpirun` or a scheduler has started.

use std::time::Duration;

use anyhow::{Context, anyhow};
use stagger::data::shown_text;
use stagger::transport::World;
use stagger_mpi::{Killer, Lost, Mpi, RANK_TIMEOUT};

use crate::failure::Failure;
use crate::launcher::{self, Launched};
use crate::terminal;

/// Connects this process with the others, and does the part of rank 0 or that of another rank. Where a rank is lost, `advice` says how
/// to go on.
pub fn run(
    rank_timeout: Option<Duration>,
    advice: &'static str,
    lead: impl FnOnce(World, &Killer) -> Result<(), Failure>,
    follow: impl FnOnce(World) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Before MPI starts: it may set variables itself.
    let launched = launcher::launched();
    let mpi = Mpi::start().context("several processes cannot be connected")?;
    let killer = mpi.killer();
    end_all_on_panic(&killer);
    let world = mpi.world().clone();
    let rank = world.rank();
    let is_leader = rank == 0;
    let rank_timeout = rank_timeout.unwrap_or(RANK_TIMEOUT);
    if !rank_timeout.is_zero() {
        mpi.watch(rank_timeout, move |lost| say_lost(rank, lost, advice));
    }
    let connected = world.size();
    let result = match launched.filter(|launched| launched.processes != connected) {
        // Each world would be a run of its own.
        Some(launched) if is_leader => {
            Err(anyhow!(mismatch(&launched, connected, mpi.library())).into())
        }
        // Rank 0 says it.
        Some(_) => Ok(()),
        None if is_leader => lead(world, &killer),
        None => follow(world),
    };
    if !is_leader && let Err(failure) = &result {
        // Rank 0 waits for this one, and does not know.
        if let Some(sentence) = failure.sentence() {
            terminal::say(&format!("error: rank {rank}: {sentence}"));
        }
        killer.kill(1);
    }
    mpi.end();
    result
}

/// What there is to say where MPI connects another number of processes than a launcher says.
fn mismatch(launched: &Launched, connected: usize, library: &str) -> String {
    let (variable, started) = (launched.variable, launched.processes);
    // Some have a line for everything that they were built with.
    let library = library.lines().next().unwrap_or_default().trim();
    format!(
        "{variable} says that {started} processes were started together, and MPI connects {connected}: either that variable is left over \
         from another launcher, or stagger was built with another MPI ({library}) than that of its launcher; start it with the mpirun \
         of that MPI, or with srun --mpi=pmix"
    )
}

/// Says on this host which rank is lost, before all are ended.
fn say_lost(rank: usize, lost: &Lost, advice: &str) {
    let speaker = match rank {
        0 => String::new(),
        rank => format!("rank {rank}: "),
    };
    let seconds = lost.silent.as_secs_f64();
    terminal::say(&format!(
        "error: {speaker}rank {} on host {} has not been heard of for {seconds} s: it is stopped, or its host or the network to it is \
         gone; all ranks end{advice}",
        lost.rank,
        shown_text(&lost.host)
    ));
}

/// A panic outside the stages ends all ranks: those that wait for this one would wait for ever.
fn end_all_on_panic(killer: &Killer) {
    let usual = std::panic::take_hook();
    let killer = killer.clone();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        // Panics of stages and loaders are errors of the run.
        let thread = std::thread::current();
        if matches!(thread.name(), Some("main" | "mpi")) {
            killer.kill(1);
        }
    }));
}
