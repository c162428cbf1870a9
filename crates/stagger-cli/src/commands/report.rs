//! `stagger report`.

use std::path::{Path, PathBuf};

use stagger::data::shown_path;
use stagger::report::NewFile;
use stagger::report::run_report::{ReportedRun, WrongImages, to_html};
use stagger::{Spelling, check_path, wrong_images};

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
    let mut runs = runs?;
    if arguments.mistakes > 0 {
        let paths = arguments.runs.iter();
        let with_images = |(run, path): (ReportedRun, &PathBuf)| {
            run.with_wrong_images(wrong_images_or_why_not(path, arguments.mistakes))
        };
        runs = runs.into_iter().zip(paths).map(with_images).collect();
    }
    page.write(to_html(&runs)?.as_bytes())?;
    print(&format!("{}\n", shown_path(page.path())))?;
    Ok(())
}

/// What else is on the page does not need the data.
fn wrong_images_or_why_not(run: &Path, most: usize) -> WrongImages {
    wrong_images(run, most).unwrap_or_else(|error| WrongImages {
        note: format!("not evaluated: {}", error.sentence(Spelling::Flags)),
        ..WrongImages::default()
    })
}
