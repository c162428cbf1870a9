//! `stagger train` as one of several processes that `mpirun` or a scheduler has started.

use anyhow::{Context, anyhow};
use stagger::data::shown_text;
use stagger::transport::World;
use stagger::{Interrupt, Training};
use stagger_mpi::{Killer, Lost, Mpi, RANK_TIMEOUT};

use super::{stall, train, training};
use crate::failure::Failure;
use crate::flags::TrainArgs;
use crate::launcher;
use crate::{signals, terminal};

/// Trains with the other processes: rank 0 leads the run, the others follow it.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    let mpi = Mpi::start().context("several processes cannot be connected")?;
    let killer = mpi.killer();
    end_all_on_panic(&killer);
    let world = mpi.world().clone();
    let rank = world.rank();
    let is_leader = rank == 0;
    let rank_timeout = arguments.rank_timeout.unwrap_or(RANK_TIMEOUT);
    if !rank_timeout.is_zero() {
        mpi.watch(rank_timeout, move |lost| say_lost(rank, lost));
    }
    let (started, connected) = (launcher::processes(), world.size());
    let result = if connected != started {
        // Each would be a run of its own.
        Err(anyhow!(
            "the launcher has started {started} processes and MPI connects {connected}: stagger was built with another MPI ({}) than \
             that of the launcher",
            mpi.library().trim()
        )
        .into())
    } else if is_leader {
        lead(arguments, world, &killer)
    } else {
        follow(world)
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

/// Trains as rank 0.
fn lead(arguments: TrainArgs, world: World, killer: &Killer) -> Result<(), Failure> {
    match training(arguments) {
        Ok(training) => {
            let (killer, killer_at_once) = (killer.clone(), killer.clone());
            let end = move |stalled| {
                let killer = killer.clone();
                stall::end_with(stalled, move || killer.kill(1))
            };
            let training = training.world(world).on_stall(end);
            train(training.on_disk_stall(move |stalled| {
                stall::end_at_once(&stalled, || killer_at_once.kill(1));
            }))
        }
        Err(failure) => {
            // The others wait to hear what the run is.
            stagger::dismiss(world);
            Err(failure)
        }
    }
}

/// Takes part in the run of rank 0, which says what it is: flags and config file of this process mean nothing.
fn follow(world: World) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    signals::listen_for_interrupts(&interrupt)?;
    signals::quiet_panics_of_workers();
    let training = Training::new()
        .commit(option_env!("STAGGER_COMMIT"))
        .world(world)
        .interrupt(interrupt);
    Ok(training.follow()?)
}

/// Says on this host which rank is lost, before all are ended.
fn say_lost(rank: usize, lost: &Lost) {
    let speaker = match rank {
        0 => String::new(),
        rank => format!("rank {rank}: "),
    };
    let seconds = lost.silent.as_secs_f64();
    terminal::say(&format!(
        "error: {speaker}rank {} on host {} has not been heard of for {seconds} s: it is stopped, or its host or the network to it is \
         gone; all ranks end, and --resume auto continues from the last snapshot",
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
