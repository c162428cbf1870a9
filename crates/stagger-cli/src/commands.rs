//! One file per verb.

pub mod bench;
pub mod compare;
pub mod data;
pub mod eval;
pub mod explain;
mod figures;
pub mod inspect;
pub mod plan;
pub mod predict;
pub mod profile;
#[cfg_attr(not(feature = "mpi"), path = "commands/without_mpi.rs")]
mod ranks;
pub mod report;
mod series;
pub mod simulate;
pub mod summary;
pub mod sweep;
pub mod theory;
pub mod train;
#[cfg_attr(not(feature = "tui"), path = "commands/watch/without_tui.rs")]
pub mod watch;
pub mod weights;

pub use series::quoted;

use stagger::RunWeights;

use crate::terminal::print;

/// The weights that a flag names.
fn run_weights(which: &str) -> RunWeights {
    match which {
        "best" => RunWeights::Best,
        "last" => RunWeights::Last,
        "average" => RunWeights::Average,
        path => RunWeights::File(path.into()),
    }
}
