//! The manifest of a snapshot.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Format version of the manifests that are written; no other is read.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// The content of `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SNAPSHOT_FORMAT`].
    pub format_version: u32,
    /// The version of the parameters: the batches trained.
    pub version: usize,
    /// Batches of the whole run.
    pub batches: usize,
    /// Version of the stagger that wrote it.
    pub stagger: String,
    /// Its commit, if known.
    pub commit: Option<String>,
    /// The model.
    pub model: String,
    /// The schedule, in canonical notation.
    pub schedule: String,
    /// Blocks of each stage.
    pub cut: Vec<usize>,
    /// Seed of everything random.
    pub seed: u64,
    /// The engine.
    pub engine: String,
    /// Its number format.
    pub dtype: String,
    /// The data set.
    pub dataset: String,
    /// Fingerprint of its training part, 16 hexadecimal digits.
    pub data_fingerprint: String,
    /// Name of the class of each output; empty where it is not known, as in older snapshots.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Top-1 test accuracy of this version in percent, if it was evaluated.
    pub test_top1: Option<f64>,
    /// All values of the run, as in its `config.toml`.
    pub config: String,
    /// What the run needs besides the stages to resume; the caller defines it.
    pub progress: Value,
    /// The stages' files, from stage 0 up.
    pub files: Vec<FileEntry>,
}

/// A file beside the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name, without a folder.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// CRC-32 (that of zip and zlib) of its bytes, 8 hexadecimal digits.
    pub crc32: String,
}

impl Manifest {
    /// Decodes a `manifest.json` of format version [`SNAPSHOT_FORMAT`].
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = read(bytes)?;
        for file in &manifest.files {
            if !is_plain_name(&file.name) {
                return Err(format!(
                    "it names the file {:?}; a plain name without folders was expected",
                    file.name
                ));
            }
        }
        let (stages, files) = (manifest.cut.len(), manifest.files.len());
        if stages != files {
            return Err(format!("it names {files} files for {stages} stages"));
        }
        Ok(manifest)
    }

    /// The format version in a manifest; `None` if the bytes are no manifest.
    pub fn format_of(bytes: &[u8]) -> Option<u32> {
        let format: Option<Format> = read(bytes).ok();
        format.map(|format| format.format_version)
    }

    /// The bytes of `manifest.json`.
    ///
    /// # Errors
    /// A sentence when a value cannot be encoded as JSON.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The field of a manifest that all format versions have.
#[derive(Deserialize)]
struct Format {
    format_version: u32,
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest: {error}"))
}

/// Whether a name cannot lead out of its folder, on any system.
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::fixtures;

    #[test]
    fn round_trip() {
        let manifest = fixtures::manifest(500);
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    }

    #[test]
    fn paths_never_leave_the_folder() {
        for name in [
            "../a",
            "/etc/passwd",
            "a/b",
            "..",
            ".",
            "",
            "a\\b",
            "C:a",
            ".a",
        ] {
            let mut manifest = fixtures::manifest(1);
            manifest.files[0].name = name.to_owned();
            let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
            assert!(error.contains("a plain name"), "{name}: {error}");
        }
    }

    #[test]
    fn other_formats_and_foreign_files_are_named() {
        let mut manifest = fixtures::manifest(1);
        manifest.format_version = 2;
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::format_of(&bytes), Some(2));
        assert_eq!(Manifest::format_of(b"{}"), None);
        let error = Manifest::decode(b"PK\x03\x04").unwrap_err();
        assert!(error.starts_with("it is no manifest: "), "{error}");
        let mut manifest = fixtures::manifest(1);
        manifest.files.pop();
        let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
        assert_eq!(error, "it names 1 files for 2 stages");
    }
}
