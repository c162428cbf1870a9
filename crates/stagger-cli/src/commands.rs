//! One file per verb.

pub mod bench;
pub mod compare;
pub mod data;
pub mod eval;
pub mod explain;
pub mod inspect;
pub mod predict;
pub mod summary;
pub mod train;
pub mod weights;

use std::io::{self, Write};

use stagger::RunWeights;

/// Prints to standard output. A reader that has gone away, as `head` or a closed terminal, is no
/// failure.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if stagger::report::is_closed(&error) => Ok(()),
        result => result,
    }
}

/// The weights that a flag names.
fn run_weights(which: &str) -> RunWeights {
    match which {
        "best" => RunWeights::Best,
        "last" => RunWeights::Last,
        path => RunWeights::File(path.into()),
    }
}
