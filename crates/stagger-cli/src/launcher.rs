//! Whether a launcher such as `mpirun` has started this process together with others.

use std::time::Duration;
use std::{env, thread};

use stagger::data::shown_text;

use crate::terminal;

/// How a launcher says how many processes it has started: Open MPI, MPICH and its kin, and a step of Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// How many processes have been started together; 1 without a launcher.
pub fn processes() -> usize {
    let sizes = SIZES
        .iter()
        .filter_map(|name| env::var(name).ok()?.parse().ok());
    sizes.max().unwrap_or(1)
}

/// How it says which of them this is.
const RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"];

/// Whether this process speaks for all that were started with it, before MPI connects them.
pub fn speaks() -> bool {
    silent_rank().is_none()
}

/// The rank of this process where rank 0 speaks for it.
fn silent_rank() -> Option<String> {
    let rank = RANKS.iter().find_map(|name| env::var(name).ok())?;
    (processes() > 1 && rank != "0").then_some(rank)
}

/// How long rank 0 has for its sentence before another rank fails.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// Says why this process ends with an error before MPI connects it.
///
/// A launcher ends all processes as soon as one of them fails, so rank 0 could be ended before it has spoken: every other rank waits to
/// be ended. If it is not, then rank 0 has another opinion (its flags may differ), or the launcher lets the ranks end by themselves.
pub fn say_error(sentence: &str) {
    match silent_rank() {
        None => terminal::say(&format!("error: {sentence}")),
        Some(rank) => {
            thread::sleep(FIRST_WORD);
            terminal::say(&format!("error: rank {}: {sentence}", shown_text(&rank)));
        }
    }
}

/// How stagger is built for several processes.
#[cfg(not(feature = "mpi"))]
pub const BUILD: &str = "cargo build --release --features mpi";
