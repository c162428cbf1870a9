//! `stagger train` as one of several processes that `mpirun` or a scheduler has started.

use anyhow::Context;
use stagger::Interrupt;
use stagger_mpi::{Killer, Mpi};

use super::{signals, stall, train, training};
use crate::failure::Failure;
use crate::flags::TrainArgs;

/// Trains with the other processes: rank 0 leads the run, the others follow it.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    let mpi = Mpi::start().context("several processes cannot be connected")?;
    let killer = mpi.killer();
    end_all_on_panic(&killer);
    let world = mpi.world().clone();
    let is_leader = world.rank() == 0;
    let training = training(arguments);
    let result = match training {
        Ok(training) if is_leader => {
            let end = move |stalled| {
                let killer = killer.clone();
                stall::end_with(stalled, move || killer.kill(1))
            };
            train(training.world(world).on_stall(end))
        }
        Ok(training) => {
            let interrupt = Interrupt::new();
            let listens = signals::listen_for_interrupts(&interrupt);
            signals::quiet_panics_of_workers();
            match listens {
                Ok(()) => {
                    (training.world(world).interrupt(interrupt).follow()).map_err(Failure::from)
                }
                Err(error) => Err(error.into()),
            }
        }
        // All ranks have the same flags and fail alike; the others would wait for rank 0.
        Err(failure) if is_leader => {
            stagger::dismiss(world);
            Err(failure)
        }
        Err(_) => Ok(()),
    };
    if !is_leader && let Err(failure) = &result {
        // Rank 0 waits for this one, and does not know.
        if let Some(sentence) = failure.sentence() {
            eprintln!("error: rank {}: {sentence}", mpi.world().rank());
        }
        mpi.killer().kill(1);
    }
    mpi.end();
    result
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
