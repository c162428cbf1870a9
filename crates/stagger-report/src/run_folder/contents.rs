//! Whether a folder holds nothing but a run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ALL_FILES, RunFolder};
use crate::atomic_file::partial_path;
use crate::error::ReportError;
use crate::snapshot::{MANIFEST_FILE, SNAPSHOTS_FOLDER, is_snapshot_name, is_stage_file_name};

impl RunFolder {
    /// The first entry of a folder that no run writes: removing the folder would lose it. Gives the path itself where that is a file or a
    /// link, and `None` where there is nothing.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the folder cannot be read.
    pub fn foreign_entry(path: &Path) -> Result<Option<PathBuf>, ReportError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(Some(path.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReportError::io("read", path, source)),
        }
        for entry in entries(path)? {
            let found = match is_folder(&entry) {
                true if entry.ends_with(SNAPSHOTS_FOLDER) => foreign_snapshot(&entry)?,
                is_folder => (is_folder || !is_file_of_run(&entry)).then_some(entry),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The same of the folder of a run's snapshots.
fn foreign_snapshot(path: &Path) -> Result<Option<PathBuf>, ReportError> {
    for snapshot in entries(path)? {
        if is_left_by_the_system(&snapshot) && !is_folder(&snapshot) {
            continue;
        }
        if !is_snapshot_name(&snapshot) {
            return Ok(Some(snapshot));
        }
        if !is_folder(&snapshot) {
            continue;
        }
        let is_foreign = |file: &PathBuf| {
            let is_own = file.ends_with(MANIFEST_FILE) || is_stage_file_name(file);
            is_folder(file) || !(is_own || is_left_by_the_system(file))
        };
        if let Some(file) = entries(&snapshot)?.into_iter().find(is_foreign) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// What file browsers and network file systems leave in any folder: no loss to the user.
fn is_left_by_the_system(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, ".DS_Store" | "Thumbs.db" | "desktop.ini") || name.starts_with(".nfs")
}

/// By its name: whatever stands in the place of a file of a run counts as that file.
fn is_file_of_run(path: &Path) -> bool {
    if is_left_by_the_system(path) {
        return true;
    }
    let mut names = ALL_FILES.iter().map(Path::new);
    names.any(|name| path.ends_with(name) || path.ends_with(partial_path(name)))
}

/// A link is none.
fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// In the order of their names.
fn entries(path: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let read = fs::read_dir(path).and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<Result<Vec<_>, _>>()
    });
    let mut entries = read.map_err(|source| ReportError::io("read the folder", path, source))?;
    entries.sort();
    Ok(entries)
}
