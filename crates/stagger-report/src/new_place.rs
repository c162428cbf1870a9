//! Where a command may put something new: checked before the work whose result goes there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf, absolute};

use stagger_data::foreign;

use crate::atomic_file::partial_path;
use crate::error::ReportError;
use crate::run_folder::{
    CONFIG_FILE, DATA_FILE, ENVIRONMENT_FILE, LOG_FILE, METRICS_FILE, RunFolder,
};

/// Whether two paths lead to one place, which need not be there yet.
#[must_use]
pub fn is_same_place(one: &Path, other: &Path) -> bool {
    one == other || resolved(one) == resolved(other)
}

/// A path without links, as far as it is there, and without dots.
fn resolved(path: &Path) -> PathBuf {
    let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = whole
        .ancestors()
        .find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, mut found)) = there else {
        return whole;
    };
    for rest in whole.strip_prefix(part).unwrap_or(&whole).components() {
        match rest {
            Component::ParentDir => drop(found.pop()),
            Component::CurDir => {}
            name => found.push(name),
        }
    }
    found
}

/// The folder that a path is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder.unwrap_or(Path::new("")),
    }
}

/// Checks that a path can be made: that the folder it is in is there, or is `made` later.
pub fn check_folder_of(path: &Path, made: Option<&Path>) -> Result<(), ReportError> {
    let folder = folder_of(path);
    let is_made = made.is_some_and(|made| is_same_place(made, folder));
    let is_there = folder.is_dir() || is_made && folder.symlink_metadata().is_err();
    match is_there && path.file_name().is_some() {
        true => Ok(()),
        false => Err(ReportError::NoFolder {
            path: path.to_owned(),
        }),
    }
}

/// One of these beside `config.toml` makes a folder that of a run: a config alone may be the user's own.
const BESIDE_A_CONFIG: [&str; 4] = [METRICS_FILE, ENVIRONMENT_FILE, DATA_FILE, LOG_FILE];

/// Refuses the name of what a run writes into its folder itself: into that of a run which is there, or the one that is `made` later.
pub fn refuse_own_name(path: &Path, made: Option<&Path>) -> Result<(), ReportError> {
    let folder = folder_of(path);
    let is_of_run = || {
        let has = |name| folder.join(name).is_file();
        made.is_some_and(|made| is_same_place(made, folder))
            || has(CONFIG_FILE) && BESIDE_A_CONFIG.into_iter().any(has)
    };
    match RunFolder::is_own_name(path) && is_of_run() {
        true => Err(ReportError::OwnName {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Makes a file beside the one that is to be written later, and removes it: a name that is too long, a disk that cannot be written, and
/// the like are told now. In a folder that is not there yet, nothing is made.
pub fn try_file(path: &Path) -> Result<(), ReportError> {
    if !folder_of(path).is_dir() {
        return Ok(());
    }
    let partial = partial_path(path);
    let tried = foreign::create_anew(&partial).map(drop);
    unless_in_turn(tried)
        .and_then(|()| match fs::remove_file(&partial) {
            // Another process that tries the same file has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
        .map_err(|source| ReportError::io("write", path, source))
}

/// The same of a folder.
pub fn try_folder(path: &Path) -> Result<(), ReportError> {
    if !folder_of(path).is_dir() {
        return Ok(());
    }
    let tried = fs::create_dir(path).and_then(|()| fs::remove_dir(path));
    unless_in_turn(tried).map_err(|source| ReportError::io("create the folder", path, source))
}

/// Another process that tries the same place at the same time, or makes it, shows that it can be made.
fn unless_in_turn(tried: io::Result<()>) -> io::Result<()> {
    match tried.as_ref().map_err(io::Error::kind) {
        Err(ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Ok(()),
        _ => tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn one_place_has_many_paths() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("a")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        for same in [
            "a/new",
            "./a/./new",
            "a/../a/new",
            "link/new",
            "a/new/in/..",
            "a/b/../new",
        ] {
            assert!(is_same_place(&at("a/new"), &at(same)), "{same}");
        }
        for other in ["a", "new", "a/new/in", "a/../new"] {
            assert!(!is_same_place(&at("a/new"), &at(other)), "{other}");
        }
        assert!(is_same_place(Path::new("new"), Path::new("./new")));
        assert!(is_same_place(Path::new("new"), &absolute("new").unwrap()));
    }

    #[test]
    fn what_another_process_makes_can_be_made() {
        for kind in [ErrorKind::AlreadyExists, ErrorKind::DirectoryNotEmpty] {
            assert!(unless_in_turn(Err(kind.into())).is_ok(), "{kind}");
        }
        assert!(unless_in_turn(Ok(())).is_ok());
        assert!(unless_in_turn(Err(ErrorKind::NotFound.into())).is_err());
    }

    #[test]
    fn what_cannot_be_made_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(250));
        assert!(try_file(&long).is_err() && try_folder(&long).is_ok());
        assert!(try_folder(&folder.path().join("x".repeat(256))).is_err());
        if cfg!(target_os = "linux") {
            assert!(try_file(Path::new("/proc/trace.json")).is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
