//! `stagger theory`.

mod report;

use stagger::theory::Theory;

use super::print;
use crate::failure::Failure;
use crate::flags::TheoryArgs;
use crate::terminal::say;

/// Measures the constants of docs/theory.md, and says what its theorems make of them.
pub fn run(arguments: &TheoryArgs) -> Result<(), Failure> {
    let measured = Theory {
        options: arguments.options(),
        steps: arguments.steps,
        probe_batches: arguments.probe_batches,
    }
    .run()?;
    measured.notes.iter().for_each(|note| say(note));
    match arguments.json {
        true => print(&format!("{}\n", report::json(&measured)))?,
        false => print(&report::tables(&measured))?,
    }
    Ok(())
}
