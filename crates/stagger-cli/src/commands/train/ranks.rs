//! `stagger train` as one of several processes that `mpirun` or a scheduler has started.

use stagger::transport::World;
use stagger::{Interrupt, Training};
use stagger_mpi::Killer;

use super::{stall, train, training};
use crate::commands::ranks;
use crate::failure::Failure;
use crate::flags::TrainArgs;
use crate::{launcher, signals};

/// A rank does not know whether rank 0 has a run folder, and a snapshot in it.
const ADVICE: &str = "; where the run has a snapshot, --resume auto goes on from it";

/// Trains with the other processes: rank 0 leads the run, the others follow it.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    ranks::run(
        arguments.rank_timeout,
        ADVICE,
        |world, killer| lead(arguments, world, killer),
        follow,
    )
}

/// Trains as rank 0.
fn lead(arguments: TrainArgs, world: World, killer: &Killer) -> Result<(), Failure> {
    match training(arguments) {
        Ok((training, shown)) => {
            let (killer, killer_at_once) = (killer.clone(), killer.clone());
            let end = move |stalled| {
                let killer = killer.clone();
                stall::end_with(stalled, move || killer.kill(1))
            };
            let training = training.world(world).on_stall(end);
            let training = training.on_disk_stall(move |stalled| {
                stall::end_at_once(&stalled, || killer_at_once.kill(1));
            });
            train(training, shown)
        }
        Err(failure) => {
            // The others wait to hear what the run is.
            stagger::dismiss(world);
            Err(failure)
        }
    }
}

/// Takes part in the run of rank 0, which says what it is, and makes sure that this process was started in the same way. A config
/// file is read there only.
fn follow(world: World) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    signals::listen_for_interrupts(&interrupt)?;
    signals::quiet_panics_of_workers();
    let training = Training::new()
        .commit(option_env!("STAGGER_COMMIT"))
        .command_line(launcher::command_line())
        .world(world)
        .interrupt(interrupt);
    Ok(training.follow()?)
}
