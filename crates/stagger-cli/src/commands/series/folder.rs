//! The folder of a series of runs, and where everything is in it.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use stagger::TrainingOptions;
use stagger::data::{foreign, shown_path};
use stagger::report::compare::{RunState, damage_of_finished, error_file, read_run};
use stagger::report::{DEFAULT_BASE, RunFolder, write_atomic};

use super::{Means, Request, kept};

/// Far more than any request has.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// [`Request::FILE`] says what was asked for, `configs/NAME.toml` what each run does, `runs/NAME/` is its run folder.
#[derive(Debug)]
pub struct SeriesFolder {
    path: PathBuf,
    pub(super) noun: &'static str,
    /// Held by this process and by the run that is under way.
    lock: File,
}

/// Removes the partial files that a process left which was killed before its request was written. One that is alive keeps them.
fn discard_beginnings(path: &Path, request: &str) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    let _locked = RunFolder::reopen(path)?;
    let entries =
        fs::read_dir(path).with_context(|| format!("could not read {}", shown_path(path)))?;
    let left: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let of_request = format!(".{request}.partial");
    let is_beginning = |path: &PathBuf| {
        path.file_name().is_some_and(|name| *name == *of_request)
            || RunFolder::is_partial_file(path)
    };
    if left.iter().all(is_beginning) {
        for path in left {
            fs::remove_file(&path)
                .with_context(|| format!("could not remove {}", shown_path(&path)))?;
        }
    }
    Ok(())
}

impl SeriesFolder {
    /// Makes the folder for a request, or takes up one that holds the same request.
    ///
    /// # Errors
    /// When something else is there, when another process is at work in it, or when it cannot be written.
    pub fn open<R: Request>(path: Option<&Path>, name: &str, request: &R) -> Result<Self> {
        let path = match path {
            Some(path) if foreign::is_there(&path.join(R::FILE)) => {
                refuse_another(path, request)?;
                path.to_owned()
            }
            _ => {
                let folder = match path {
                    Some(path) => {
                        discard_beginnings(path, R::FILE)?;
                        RunFolder::create(path)?
                    }
                    None => {
                        RunFolder::create_named(Path::new(DEFAULT_BASE), name, SystemTime::now())?
                    }
                };
                let text =
                    toml::to_string(request).context("the request cannot be written as TOML")?;
                folder.write(R::FILE, text.as_bytes())?;
                folder.path().to_owned()
            }
        };
        let lock = lock(&path.join(R::FILE), R::NOUN)?;
        for part in ["configs", "runs"] {
            let part = path.join(part);
            foreign::refuse_folder_link(&part)
                .and_then(|()| fs::create_dir_all(&part))
                .with_context(|| format!("could not create the folder {}", shown_path(&part)))?;
        }
        let noun = R::NOUN;
        Ok(Self { path, noun, lock })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The config file of a run.
    pub fn config(&self, name: &str) -> PathBuf {
        self.path.join("configs").join(format!("{name}.toml"))
    }

    /// The run folder of a run.
    pub fn run(&self, name: &str) -> PathBuf {
        self.path.join("runs").join(name)
    }

    /// A handle that keeps the folder locked for as long as it is open in any process.
    pub fn lock(&self) -> Result<File> {
        self.lock
            .try_clone()
            .with_context(|| format!("could not share the lock of the {}", self.noun))
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        write_atomic(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Makes sure that in the place of a run there is nothing but what it has left, or a finished run with the options that were `said`:
    /// `means` has them in the form that a run gives them. Says whether there is one, which is kept.
    ///
    /// # Errors
    /// One sentence on what else is there.
    pub fn check_run(&self, name: &str, said: &TrainingOptions, means: &Means) -> Result<bool> {
        let folder = self.run(name);
        match read_run(&folder) {
            RunState::Done(run) => {
                kept::check(&folder, &run, said, means)?;
                Ok(true)
            }
            RunState::Failed(_) | RunState::Missing => {
                if let Some(damage) = damage_of_finished(&folder) {
                    bail!(
                        "{damage}; the run has come to its end, and would be made again: mend the file, or move {} away",
                        shown_path(&folder)
                    );
                }
                self.refuse_foreign(name)?;
                Ok(false)
            }
        }
    }

    /// Refuses to remove what no run has written.
    fn refuse_foreign(&self, name: &str) -> Result<()> {
        let folder = self.run(name);
        let said = error_file(&folder);
        let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir());
        match RunFolder::foreign_entry(&folder)?.or(Some(said).filter(is_folder)) {
            None => Ok(()),
            Some(found) => bail!(
                "{} is of no run, and would be lost when the {} makes its run {name}; move it away, or choose another --output",
                shown_path(&found),
                self.noun
            ),
        }
    }

    /// Removes what an unfinished run has left.
    ///
    /// # Errors
    /// When something else is with it, and when it cannot be removed.
    #[expect(
        clippy::disallowed_methods,
        reason = "a folder of this series with nothing in it but what a run writes; links are not followed"
    )]
    pub fn clear(&self, name: &str) -> Result<()> {
        self.refuse_foreign(name)?;
        let folder = self.run(name);
        for (path, removed) in [
            (folder.clone(), fs::remove_dir_all(&folder)),
            (error_file(&folder), fs::remove_file(error_file(&folder))),
        ] {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| {
                        format!(
                            "could not remove {} of an unfinished run",
                            shown_path(&path)
                        )
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn refuse_another<R: Request>(path: &Path, request: &R) -> Result<()> {
    let file = path.join(R::FILE);
    let text = foreign::text_inside(&file, MAX_REQUEST_BYTES)
        .with_context(|| format!("could not read {}", shown_path(&file)))?;
    let there: R = toml::from_str(&text).map_err(|error| {
        let what = error.message().replace('\n', ", ");
        anyhow!(
            "{} is not a {} that this version of stagger reads: {what}; choose another --output",
            shown_path(&file),
            R::NOUN
        )
    })?;
    match request.difference(&there)? {
        None => Ok(()),
        Some(difference) => bail!(
            "{} holds another {}: {difference}; choose another --output, or ask for the same",
            shown_path(path),
            R::NOUN
        ),
    }
}

fn lock(path: &Path, noun: &str) -> Result<File> {
    let file = foreign::open_inside(path, MAX_REQUEST_BYTES)
        .with_context(|| format!("could not open {}", shown_path(path)))?
        .into_file();
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another stagger is at work on the {noun} in {}; wait for it, or choose another --output",
            shown_path(path.parent().unwrap_or(path))
        ),
        // Some file systems have no locks: the user is then the only one who can take care.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// A name for the folder of a run that no other run of the comparison has.
pub fn run_name(method: &str, slowdown_percent: f64, seed: u64, taken: &[String]) -> String {
    let mut name = String::new();
    for c in method.chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let mut name = name.trim_end_matches('-').to_owned();
    if slowdown_percent > 0.0 {
        name.push_str(&format!("-slow{slowdown_percent}"));
    }
    name.push_str(&format!("-seed{seed}"));
    let mut free = name.clone();
    let mut number = 1;
    while taken.contains(&free) {
        number += 1;
        free = format!("{name}-{number}");
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_never_collide() {
        let mut taken = Vec::new();
        for (method, slowdown, expected) in [
            ("dsp(1,1,0;4,2,0)", 0.0, "dsp-1-1-0-4-2-0-seed7"),
            ("dsp + shrink(0.9)", 12.5, "dsp-shrink-0.9-slow12.5-seed7"),
            ("gpipe(4)", 0.0, "gpipe-4-seed7"),
            ("gpipe-4", 0.0, "gpipe-4-seed7-2"),
            ("../bp", 0.0, "..-bp-seed7"),
        ] {
            let name = run_name(method, slowdown, 7, &taken);
            assert_eq!(name, expected);
            taken.push(name);
        }
    }
}
