//! `stagger report`.

use stagger::check_path;
use stagger::data::shown_path;
use stagger::report::NewFile;
use stagger::report::run_report::{ReportedRun, to_html};

use super::print;
use crate::failure::Failure;
use crate::flags::ReportArgs;

/// Writes a page of runs.
pub fn run(arguments: &ReportArgs) -> Result<(), Failure> {
    for path in arguments.runs.iter().chain([&arguments.output]) {
        check_path("path", path).map_err(stagger::Error::from)?;
    }
    let page = NewFile::at(&arguments.output)?;
    let runs: Result<Vec<ReportedRun>, _> = arguments
        .runs
        .iter()
        .map(|run| ReportedRun::read(run))
        .collect();
    page.write(to_html(&runs?)?.as_bytes())?;
    print(&format!("{}\n", shown_path(page.path())))?;
    Ok(())
}
