//! The folder `snapshots/` of a run.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};

use super::file_system::{Disk, FileSystem, SnapshotFile};
use super::keep::Keep;
use super::manifest::{FileEntry, Manifest, MetricsSeal, SNAPSHOT_FORMAT};
use super::stage_file::{StageFile, decode_stage, stage_file_name};
use crate::checksum;
use crate::disk_watch;
use crate::error::ReportError;
use crate::passing_error::is_passing;
use crate::weights_file::MAX_WEIGHTS_BYTES;

/// Name of the folder inside a run folder.
pub const SNAPSHOTS_FOLDER: &str = "snapshots";
/// Name of the manifest inside a snapshot's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Far more than any manifest has.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Suffix of folders that are not complete.
const PARTIAL: &str = ".partial";

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
    /// Newer ones, which are damaged or do not serve.
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

    /// The newest complete snapshot, and newer ones that are damaged.
    ///
    /// # Errors
    /// [`ReportError::Io`] when a file exists and cannot be read: its snapshot may be complete.
    /// [`ReportError::SnapshotFormat`] for a snapshot that another version of stagger has written.
    pub fn latest(&mut self) -> Result<Latest, ReportError> {
        self.latest_that(|_| true, |_| Ok(()))
    }

    /// As [`SnapshotStore::latest`], among the versions that are meant and the snapshots that `serves` does not refuse.
    ///
    /// # Errors
    /// As [`SnapshotStore::latest`].
    pub fn latest_that(
        &mut self,
        is_meant: impl Fn(usize) -> bool,
        mut serves: impl FnMut(&Manifest) -> Result<(), ReportError>,
    ) -> Result<Latest, ReportError> {
        let mut skipped = Vec::new();
        let versions = self.versions()?.into_iter().rev();
        for (version, path) in versions.filter(|(version, _)| is_meant(*version)) {
            let manifest = self.manifest(&path).and_then(|manifest| {
                let found = manifest.version;
                match found == version {
                    true => Ok(manifest),
                    false => Err(ReportError::Snapshot {
                        path: path.join(MANIFEST_FILE),
                        what: format!("it is that of version {found}"),
                    }),
                }
            });
            let why = match manifest.map(|manifest| (serves(&manifest), manifest)) {
                Ok((Ok(()), manifest)) => match self.stages(&path, &manifest) {
                    Ok(stages) => {
                        let found = Some((manifest, Snapshot { version, stages }));
                        return Ok(Latest { found, skipped });
                    }
                    Err(why) if why.is_damage() => why,
                    Err(error) => return Err(error),
                },
                Ok((Err(why), _)) => why,
                Err(why) if why.is_damage() => why,
                Err(error) => return Err(error),
            };
            skipped.push(Skipped { path, why });
        }
        Ok(Latest {
            found: None,
            skipped,
        })
    }

    /// Reads the snapshot in a folder.
    ///
    /// # Errors
    /// [`ReportError::Io`] when a file cannot be read, [`ReportError::Snapshot`] when one is damaged or differs from what the
    /// manifest says, [`ReportError::SnapshotFormat`] when it has another format version.
    pub fn load(&mut self, path: &Path) -> Result<(Manifest, Snapshot), ReportError> {
        let manifest = self.manifest(path)?;
        let (version, stages) = (manifest.version, self.stages(path, &manifest)?);
        Ok((manifest, Snapshot { version, stages }))
    }

    fn stages(
        &mut self,
        path: &Path,
        manifest: &Manifest,
    ) -> Result<Vec<StageSnapshot>, ReportError> {
        let mut stages = Vec::with_capacity(manifest.files.len());
        for entry in &manifest.files {
            let file = path.join(&entry.name);
            let refuse = |what| ReportError::Snapshot {
                path: file.clone(),
                what,
            };
            let limit = entry.size_bytes.min(MAX_WEIGHTS_BYTES);
            let bytes = (self.files.read(&file, limit))
                .map_err(|source| ReportError::io("read", &file, source))?;
            if bytes.len() as u64 != entry.size_bytes {
                return Err(refuse(format!(
                    "it has {} bytes and the manifest says {}",
                    bytes.len(),
                    entry.size_bytes
                )));
            }
            let found = checksum::crc32(&bytes);
            if found != entry.crc32 {
                return Err(refuse(format!(
                    "its checksum is {found} and the manifest says {}",
                    entry.crc32
                )));
            }
            stages.push(decode_stage(&bytes).map_err(refuse)?);
        }
        Ok(stages)
    }

    /// The manifest in a snapshot's folder.
    ///
    /// # Errors
    /// As [`SnapshotStore::load`].
    pub fn manifest(&mut self, path: &Path) -> Result<Manifest, ReportError> {
        let file = path.join(MANIFEST_FILE);
        // A path that the user has named may be a link.
        if path.parent() == Some(&self.folder) && !self.is_folder(path)? {
            let what = "it is no folder of its own; move it away".to_owned();
            let path = path.to_owned();
            return Err(ReportError::Snapshot { path, what });
        }
        let bytes = (self.files.read(&file, MAX_MANIFEST_BYTES))
            .map_err(|source| ReportError::io("read", &file, source))?;
        match Manifest::foreign_format(&bytes) {
            Some(found) => Err(ReportError::SnapshotFormat {
                path: file,
                found,
                expected: SNAPSHOT_FORMAT,
            }),
            None => {
                Manifest::decode(&bytes).map_err(|what| ReportError::Snapshot { path: file, what })
            }
        }
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

/// `v00000500`: names sort by version up to eight digits.
fn name(version: usize) -> String {
    format!("v{version:08}")
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn version_of(path: &Path) -> Option<usize> {
    let name = name_of(path);
    let digits = name.strip_prefix('v')?;
    let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Whether a name is one that the store gives to what is not complete, or on its way out.
fn is_leftover(name: &str) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(PARTIAL));
    inner.is_some_and(|inner| {
        let version = inner
            .strip_suffix(".old")
            .or(inner.strip_suffix(".manifest"));
        version_of(Path::new(version.unwrap_or(inner))).is_some()
    })
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
