//! The file of a profile.

use std::path::Path;

use stagger_data::{foreign, shown_path};
use stagger_report::write_atomic;

use super::Profiled;
use crate::error::Error;
use crate::refusal::{Refusal, check_path};

/// Finds out what is wrong with the file for a profile before anything is measured: its name must be free, and its folder there.
///
/// # Errors
/// A [`Refusal`].
pub fn check_output(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() {
        return Err(refused("it is empty; name a file that does not exist").into());
    }
    check_path("output", path)?;
    if foreign::is_there(path) {
        let what = format!(
            "{} exists already; name another file, or remove it",
            shown_path(path)
        );
        return Err(refused(&what).into());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let what = format!(
            "there is no folder {}; make it, or name another file",
            shown_path(folder)
        );
        return Err(refused(&what).into());
    }
    Ok(())
}

impl Profiled {
    /// The profile as JSON, with a final line break.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no measured time causes.
    pub fn json(&self) -> Result<String, Error> {
        let json = self
            .profile
            .to_json()
            .map_err(|error| refused(&error.to_string()))?;
        Ok(json + "\n")
    }

    /// Writes the profile to a new file, which is complete or missing. [`Profile::from_json`](stagger_plan::Profile::from_json) reads it.
    ///
    /// # Errors
    /// As [`check_output`], and when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        check_output(path)?;
        Ok(write_atomic(path, self.json()?.as_bytes())?)
    }
}

fn refused(what: &str) -> Refusal {
    Refusal::Unreadable {
        option: "output",
        source: what.into(),
    }
}
