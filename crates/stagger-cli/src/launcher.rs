//! Whether a launcher such as `mpirun` has started this process together with others.

use std::env;

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
    let rank = RANKS.iter().find_map(|name| env::var(name).ok());
    processes() == 1 || rank.is_none_or(|rank| rank == "0")
}

/// How stagger is built for several processes.
#[cfg(not(feature = "mpi"))]
pub const BUILD: &str = "cargo build --release --features mpi";
