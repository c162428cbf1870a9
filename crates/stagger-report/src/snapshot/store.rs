//! The folder `snapshots/` of a run.

mod names;
mod reading;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};

use super::file_system::{Disk, FileSystem, SnapshotFile};
use super::keep::Keep;
use super::manifest::{FileEntry, Manifest, MetricsSeal, SNAPSHOT_FORMAT};
use super::stage_file::{StageFile, stage_file_name};
use crate::checksum;
use crate::disk_watch;
use crate::error::ReportError;
use crate::passing_error::is_passing;
use crate::weights_file::MAX_WEIGHTS_BYTES;

pub(crate) use names::is_snapshot_name;
use names::{PARTIAL, is_leftover, name, name_of, version_of};

/// Name of the folder inside a run folder.
pub const SNAPSHOTS_FOLDER: &str = "snapshots";
/// Name of the manifest inside a snapshot's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The snapshots of a run.
#[derive(Debug)]
pub struct SnapshotStore<F = Disk> {
    folder: PathBuf,
    files: F,
}

/// What becomes known of a snapshot once its version is evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// The version.
    pub version: usize,
    /// Its top-1 test accuracy in percent.
    pub test_top1: f64,
    /// The progress of the run with it.
    pub progress: Value,
    /// What `metrics.jsonl` holds with it.
    pub metrics: Option<MetricsSeal>,
}

/// The newest snapshot to resume from.
#[derive(Debug)]
pub struct Latest {
    /// The newest complete snapshot.
    pub found: Option<(Manifest, Snapshot)>,
    /// Newer ones that were passed over, each with its error.
    pub skipped: Vec<Skipped>,
}

/// A snapshot that is left out.
#[derive(Debug)]
pub struct Skipped {
    /// Its folder.
    pub path: PathBuf,
    /// Why.
    pub why: ReportError,
}

impl SnapshotStore {
    /// The snapshots of the run in this folder, on disk.
    pub fn of_run(run: &Path) -> Self {
        Self::on(Disk, run)
    }
}

impl<F: FileSystem> SnapshotStore<F> {
    /// The snapshots of the run in this folder, on this file system.
    pub fn on(files: F, run: &Path) -> Self {
        Self {
            folder: run.join(SNAPSHOTS_FOLDER),
            files,
        }
    }

    /// Removes incomplete snapshots that a crash has left, and snapshots of versions later than this one: a run that resumes
    /// at this version takes them again. What has another name, or is no folder, is not the run's, and stays.
    ///
    /// # Errors
    /// [`ReportError::Io`] when one cannot be removed.
    pub fn clean(&mut self, version: usize) -> Result<(), ReportError> {
        for path in self.list()? {
            if is_leftover(&name_of(&path)) {
                let removed = self.files.remove(&path);
                removed.map_err(|source| ReportError::io("remove", &path, source))?;
            }
        }
        // Newest first: if this is cut short, no snapshot is left without those before it.
        for (found, path) in self.folders()?.into_iter().rev() {
            if found > version {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Writes a snapshot, complete or not at all, and returns its size in bytes. Fills in the manifest's list of files.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file system fails, [`ReportError::Encode`] when the snapshot cannot be encoded. Other
    /// snapshots are unchanged.
    pub fn write(
        &mut self,
        stages: &[Arc<StageSnapshot>],
        manifest: Manifest,
    ) -> Result<u64, ReportError> {
        let path = self.folder.join(name(manifest.version));
        let partial = self.partial(&path);
        let mut written = self.write_and_rename(&path, &partial, stages, manifest.clone());
        if matches!(&written, Err(ReportError::Io { source, .. }) if is_passing(source)) {
            written = self.write_and_rename(&path, &partial, stages, manifest);
        }
        if written.is_err() {
            // The first failure is the one to report, whether or not this works.
            let _ = self.files.remove(&partial);
        }
        written
    }

    fn write_and_rename(
        &mut self,
        path: &Path,
        partial: &Path,
        stages: &[Arc<StageSnapshot>],
        mut manifest: Manifest,
    ) -> Result<u64, ReportError> {
        let failed = |source| ReportError::io("write", path, source);
        let encode = |what| ReportError::Encode {
            path: path.to_owned(),
            what,
        };
        self.files.remove(partial).map_err(failed)?;
        self.files.create_folder(partial).map_err(failed)?;
        manifest.files.clear();
        for (stage, snapshot) in stages.iter().enumerate() {
            let file = StageFile::of(snapshot).map_err(encode)?;
            let contents = file.contents();
            let header = contents.header().map_err(encode)?;
            let name = stage_file_name(stage);
            let entry = self
                .write_file(&partial.join(&name), |out| contents.write(&header, out))
                .map_err(failed)?;
            if entry.size_bytes > MAX_WEIGHTS_BYTES {
                return Err(encode(format!(
                    "stage {stage} has {} bytes, and files of at most {MAX_WEIGHTS_BYTES} are read",
                    entry.size_bytes
                )));
            }
            manifest.files.push(FileEntry { name, ..entry });
        }
        let text = manifest.encode().map_err(encode)?;
        let own = self
            .write_file(&partial.join(MANIFEST_FILE), |out| out.write_all(&text))
            .map_err(failed)?;
        disk_watch::during("flush", partial, || self.files.sync_folder(partial)).map_err(failed)?;
        // An earlier attempt at this version, which may be damaged. The snapshot before it is complete.
        if self.list()?.iter().any(|found| found == path) {
            if !self.is_folder(path)? {
                return Err(ReportError::InTheWay {
                    path: path.to_owned(),
                });
            }
            self.remove(path)?;
        }
        let name = || {
            self.files.rename(partial, path)?;
            self.files.sync_folder(&self.folder)
        };
        disk_watch::during("rename", partial, name).map_err(failed)?;
        let stages: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
        Ok(stages + own.size_bytes)
    }

    /// Notes in the manifest of a snapshot what its version scores, wholly or not at all. Nothing happens without a snapshot of
    /// that version.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file system fails, and those of [`SnapshotStore::load`] on its manifest. The snapshot is then
    /// as it was.
    pub fn add_evaluation(&mut self, scored: Scored) -> Result<(), ReportError> {
        let path = self.folder.join(name(scored.version));
        if !self.list()?.contains(&path) || !self.is_folder(&path)? {
            return Ok(());
        }
        let before = self.manifest(&path)?;
        let manifest = Manifest {
            format_version: SNAPSHOT_FORMAT,
            test_top1: Some(scored.test_top1),
            progress: scored.progress,
            metrics: scored.metrics.or_else(|| before.metrics.clone()),
            ..before
        };
        let file = path.join(MANIFEST_FILE);
        let text = manifest.encode().map_err(|what| ReportError::Encode {
            path: file.clone(),
            what,
        })?;
        let partial = (self.folder).join(format!(".{}.manifest{PARTIAL}", name(scored.version)));
        let written = (self.files.remove(&partial))
            .and_then(|()| self.write_file(&partial, |out| out.write_all(&text)))
            .and_then(|_| self.files.rename(&partial, &file))
            .and_then(|()| self.files.sync_folder(&path));
        if written.is_err() {
            // The first failure is the one to report, whether or not this works.
            let _ = self.files.remove(&partial);
        }
        written.map_err(|source| ReportError::io("write", &file, source))
    }

    /// Writes a file, flushes it to disk, and returns its length and checksum.
    fn write_file(
        &mut self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<FileEntry> {
        let file = Checked {
            path: path.to_owned(),
            file: disk_watch::during("create", path, || self.files.create_file(path))?,
            size_bytes: 0,
            checksum: crc32fast::Hasher::new(),
        };
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write(&mut out)?;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        disk_watch::during("flush", path, || file.file.sync())?;
        Ok(FileEntry {
            name: String::new(),
            size_bytes: file.size_bytes,
            crc32: checksum::hex(file.checksum.finalize()),
        })
    }

    /// Removes all snapshots that are not to be kept.
    ///
    /// # Errors
    /// [`ReportError::Io`] when one cannot be removed.
    pub fn prune(&mut self, keep: &Keep) -> Result<(), ReportError> {
        let versions = self.folders()?;
        let mut scored = Vec::with_capacity(versions.len());
        for (version, path) in &versions {
            // One that cannot be read does not count as the best and is no error.
            let top1 = self.manifest(path).ok().and_then(|found| found.test_top1);
            scored.push((*version, top1));
        }
        let kept = keep.of(&scored);
        for (version, path) in &versions {
            if !kept.contains(version) {
                self.remove(path)?;
            }
        }
        Ok(())
    }

    /// Versions with a folder, in ascending order.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the folder cannot be read.
    pub fn versions(&mut self) -> Result<Vec<(usize, PathBuf)>, ReportError> {
        let paths = self.list()?.into_iter();
        let mut versions: Vec<_> = paths
            .filter_map(|path| Some((version_of(&path)?, path)))
            .collect();
        versions.sort();
        Ok(versions)
    }

    /// What has the name of a snapshot's folder and is none: files and links, which are not the run's.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the folder cannot be read.
    pub fn in_the_way(&mut self) -> Result<Vec<PathBuf>, ReportError> {
        let mut found = Vec::new();
        for (_, path) in self.versions()? {
            if !self.is_folder(&path)? {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// The versions whose folders may be the run's.
    fn folders(&mut self) -> Result<Vec<(usize, PathBuf)>, ReportError> {
        let mut found = Vec::new();
        for (version, path) in self.versions()? {
            if self.is_folder(&path)? {
                found.push((version, path));
            }
        }
        Ok(found)
    }

    fn is_folder(&mut self, path: &Path) -> Result<bool, ReportError> {
        match self.files.is_folder(path) {
            Ok(is_folder) => Ok(is_folder),
            // It has gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) => Err(ReportError::io("read", path, source)),
        }
    }

    fn list(&mut self) -> Result<Vec<PathBuf>, ReportError> {
        (self.files.list(&self.folder))
            .map_err(|source| ReportError::io("read the folder", &self.folder, source))
    }

    /// Removes a snapshot: its name first, so that no reader finds a part of it.
    fn remove(&mut self, path: &Path) -> Result<(), ReportError> {
        let failed = |source| ReportError::io("remove", path, source);
        let nameless = self.folder.join(format!(".{}.old{PARTIAL}", name_of(path)));
        let remove = || {
            self.files.remove(&nameless)?;
            self.files.rename(path, &nameless)?;
            self.files.remove(&nameless)
        };
        disk_watch::during("remove", path, remove).map_err(failed)
    }

    /// Path of a snapshot's folder until it is complete.
    fn partial(&self, path: &Path) -> PathBuf {
        self.folder.join(format!(".{}{PARTIAL}", name_of(path)))
    }
}

/// A writer that counts bytes and computes their checksum.
struct Checked {
    path: PathBuf,
    file: Box<dyn SnapshotFile>,
    size_bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = disk_watch::during("write", &self.path, || self.file.write(bytes))?;
        self.checksum.update(&bytes[..taken]);
        self.size_bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests;
