//! `stagger profile` as one of several processes that `mpirun` or a scheduler has started.

use stagger::{Interrupt, Training};

use super::{measure, profiling};
use crate::commands::ranks;
use crate::failure::Failure;
use crate::flags::ProfileArgs;
use crate::{launcher, signals};

/// Measures with the other processes: rank 0 says what, and every rank measures its own stages.
pub fn run(arguments: &ProfileArgs) -> Result<(), Failure> {
    ranks::run(
        arguments.rank_timeout,
        "",
        |world, _| measure(arguments, Some(world)),
        |world| {
            signals::quiet_panics_of_workers();
            // Images and classes are not among the options of a run, so every rank reads them from its own flags. What is wrong with
            // these, rank 0 says, and lets this one go.
            match profiling(arguments) {
                Ok(profiling) => profiling.follow(&world, &Interrupt::new())?,
                Err(_) => {
                    let training = Training::new().command_line(launcher::command_line());
                    training.world(world).follow()?;
                }
            }
            Ok(())
        },
    )
}
