//! Snapshots are read: only what a manifest says, in size and checksum.

use std::path::Path;

use stagger_runtime::snapshot::{Snapshot, StageSnapshot};

use super::{FileSystem, Latest, MANIFEST_FILE, Skipped, SnapshotStore};
use crate::checksum;
use crate::error::ReportError;
use crate::snapshot::manifest::{Manifest, SNAPSHOT_FORMAT};
use crate::snapshot::stage_file::decode_stage;
use crate::weights_file::MAX_WEIGHTS_BYTES;

/// Far more than a manifest has.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

impl<F: FileSystem> SnapshotStore<F> {
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
}
