//! Snapshots on disk: a folder per version, with a safetensors file per stage and a manifest (docs/snapshots.md).
//!
//! | module | what |
//! | --- | --- |
//! | `stage_file` | one stage as bytes, and back |
//! | `manifest` | what the snapshot is of, and the checksums of its files |
//! | `file_system` | every call to the disk, as a trait, so that tests can let each of them fail |
//! | `store` | folders that are whole or not there; which of them stay |
//! | `writer` | the sink that gathers the stages' parts and writes them in the background |
//!
//! **Invariant:** a snapshot is seen by its final name only, and that name is given to a folder in which everything is on
//! disk, the manifest last.

mod file_system;
mod manifest;
mod parts;
mod stage_file;
mod store;
mod writer;

#[cfg(test)]
mod fixtures;

pub use file_system::{Disk, FileSystem, SnapshotFile};
pub(crate) use parts::{Complete, SnapshotParts};

pub use manifest::{FileEntry, Manifest, SNAPSHOT_FORMAT};
pub use stage_file::{decode_stage, encode_stage, stage_file_name};
pub use store::{Latest, MANIFEST_FILE, SNAPSHOTS_FOLDER, Skipped, SnapshotStore};
pub use writer::{SnapshotWriter, Written};
