//! `stagger watch`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stagger::check_path;
use stagger_dashboard::{DashboardError, Palette, WatchOptions, is_possible, watch, watch_once};

use super::print;
use crate::failure::Failure;
use crate::flags::WatchArgs;
use crate::signals;

/// Shows a run folder on the terminal, or prints what is seen of it.
pub fn run(arguments: &WatchArgs) -> Result<(), Failure> {
    check_path("path", &arguments.run).map_err(stagger::Error::from)?;
    if arguments.once || !is_possible() {
        return Ok(print(&watch_once(&arguments.run).map_err(failure)?)?);
    }
    let stop: Arc<AtomicBool> = Arc::default();
    signals::raise_when_ended(&stop)?;
    let options = WatchOptions {
        interval: arguments.interval,
        palette: Palette::of_environment(),
        stop: &stop,
    };
    watch(&arguments.run, options).map_err(failure)
}

/// A folder that cannot be read is named by the library's own error, as elsewhere.
fn failure(error: DashboardError) -> Failure {
    match error {
        DashboardError::Folder(error) => error.into(),
        error => Failure::Request(error.into()),
    }
}
