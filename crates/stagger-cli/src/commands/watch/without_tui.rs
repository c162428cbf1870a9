//! `stagger watch` in a build without the screen.

use crate::failure::Failure;
use crate::flags::WatchArgs;
use crate::screen;

/// Refuses.
pub fn run(_arguments: &WatchArgs) -> Result<(), Failure> {
    Err(screen::missing("stagger watch"))
}
