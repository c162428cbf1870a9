//! Whether a launcher such as `mpirun` has started this process together with others.

use std::time::Duration;
use std::{env, thread};

use stagger::data::shown_text;

use crate::terminal;

/// The variables in which launchers say how many processes they have started, and which of them this is: Open MPI, MPICH and its kin,
/// and a step of Slurm. The nearest comes first: `mpirun` within a step of Slurm leaves the variables of that step as they are.
const VARIABLES: [[&str; 2]; 3] = [
    ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"],
    ["PMI_SIZE", "PMI_RANK"],
    ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID"],
];

/// What the nearest launcher says of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// The variable in which it says how many there are.
    pub variable: &'static str,
    /// How many processes have been started together.
    pub processes: usize,
    rank: Option<String>,
}

impl Launched {
    fn of(value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        VARIABLES.into_iter().find_map(|[variable, rank]| {
            let processes = value(variable)?.parse().ok().filter(|&count| count > 0)?;
            Some(Self {
                variable,
                processes,
                rank: value(rank),
            })
        })
    }
}

/// What a launcher says; nothing without one.
pub fn launched() -> Option<Launched> {
    Launched::of(|name| env::var(name).ok())
}

/// How many processes have been started together; 1 without a launcher.
pub fn processes() -> usize {
    launched().map_or(1, |launched| launched.processes)
}

/// Whether this process speaks for all that were started with it, before MPI connects them.
pub fn speaks() -> bool {
    silent_rank().is_none()
}

/// The rank of this process where rank 0 speaks for it.
fn silent_rank() -> Option<String> {
    let launched = launched().filter(|launched| launched.processes > 1)?;
    launched.rank.filter(|rank| rank != "0")
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

/// The words that this process was started with, without the program's name.
pub fn command_line() -> Vec<String> {
    let words = env::args_os().skip(1);
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// How stagger is built for several processes.
#[cfg(not(feature = "mpi"))]
pub const BUILD: &str = "cargo build --release --features mpi";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Launched> {
        Launched::of(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_nearest_launcher_counts() {
        let step = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "0")];
        let mpirun = [("OMPI_COMM_WORLD_SIZE", "3"), ("OMPI_COMM_WORLD_RANK", "2")];
        let within = [&step[..], &mpirun[..]].concat();
        let launched = |variable, processes, rank: &str| {
            let rank = Some(rank.to_owned());
            Some(Launched {
                variable,
                processes,
                rank,
            })
        };
        assert_eq!(of(&within), launched("OMPI_COMM_WORLD_SIZE", 3, "2"));
        assert_eq!(of(&step), launched("SLURM_STEP_NUM_TASKS", 4, "0"));
        let other = [("PMI_SIZE", "2"), ("PMI_RANK", "1")];
        assert_eq!(of(&other), launched("PMI_SIZE", 2, "1"));
        let odd = [&[("PMI_SIZE", "many")][..], &step[..]].concat();
        assert_eq!(of(&odd), of(&step));
        assert_eq!(of(&[]), None);
    }
}
