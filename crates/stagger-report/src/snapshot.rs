//! Snapshots on disk: a folder per version, with a safetensors file per stage and a manifest (docs/snapshots.md).
//!
//! | module | purpose |
//! | --- | --- |
//! | `stage_file` | encodes and decodes one stage |
//! | `manifest` | the run and the version of a snapshot, and the checksums of its files |
//! | `file_system` | every call to the disk, as a trait, so that tests can make each of them fail |
//! | `keep` | which snapshots stay |
//! | `store` | writes, finds, reads and removes snapshots |
//! | `parts` | collects the stages' parts of a snapshot |
//! | `writer` | the sink that writes snapshots in the background |
//!
//! **Invariant:** readers know a snapshot by its final name only, and a folder gets that name when all of its files are on
//! disk; the manifest is written last. Once its version is evaluated, a new manifest takes the place of that one in one step.

mod file_system;
mod keep;
mod manifest;
mod parts;
mod stage_file;
mod store;
mod writer;

#[cfg(test)]
mod fixtures;

pub use file_system::{Disk, FileSystem, SnapshotFile};
pub(crate) use parts::{Complete, Evaluation, Known, SnapshotParts};

pub use keep::Keep;
pub use manifest::{DataSeal, FileEntry, Manifest, MetricsSeal, SNAPSHOT_FORMAT};
pub(crate) use stage_file::is_stage_file_name;
pub use stage_file::{decode_stage, encode_stage, stage_file_name};
pub(crate) use store::is_snapshot_name;
pub use store::{Latest, MANIFEST_FILE, SNAPSHOTS_FOLDER, Scored, Skipped, SnapshotStore};
pub use writer::{SnapshotPlan, SnapshotWriter, Written};
