//! `stagger inspect`.

use stagger::check_path;
use stagger::report::inspect;

use super::print;
use crate::failure::Failure;
use crate::flags::InspectArgs;

/// Prints what a snapshot, a weights file or a run folder holds.
pub fn run(arguments: &InspectArgs) -> Result<(), Failure> {
    check_path("path", &arguments.path).map_err(stagger::Error::from)?;
    print(&inspect(&arguments.path)?)?;
    Ok(())
}
