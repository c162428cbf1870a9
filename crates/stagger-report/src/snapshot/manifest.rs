//! The manifest of a snapshot.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checksum;

/// Format version of the manifests that are written. The one before it, without checksums of the manifest and of the metrics, is
/// read, too.
pub const SNAPSHOT_FORMAT: u32 = 2;

/// The oldest format version that is read.
const OLDEST_FORMAT: u32 = 1;

/// Format versions whose manifests end with a checksum, of those that are read.
const CHECKSUMMED: RangeInclusive<u32> = 2..=SNAPSHOT_FORMAT;

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
    /// The images that the run goes by; empty in older snapshots.
    #[serde(default)]
    pub data: Vec<DataSeal>,
    /// Name of the class of each output; empty where it is not known, as in older snapshots.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Top-1 test accuracy of this version in percent, if it was evaluated.
    pub test_top1: Option<f64>,
    /// All values of the run, as in its `config.toml`.
    pub config: String,
    /// What the run needs besides the stages to resume; the caller defines it.
    pub progress: Value,
    /// What `metrics.jsonl` holds up to there; `None` in older snapshots, and without such a file.
    #[serde(default)]
    pub metrics: Option<MetricsSeal>,
    /// The stages' files, from stage 0 up.
    pub files: Vec<FileEntry>,
}

/// A set of images, as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSeal {
    /// What they are for, with a verb: `train on`.
    pub part: String,
    /// Their number.
    pub images: usize,
    /// Fingerprint, 16 hexadecimal digits.
    pub fingerprint: String,
    /// The same of the content of a sample of files, where the other does not look at it.
    pub content: Option<String>,
}

/// Checksums of the lines of `metrics.jsonl` that a run that resumes from a snapshot keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsSeal {
    /// CRC-32 of the first line and those of all batches before the version, 8 hexadecimal digits.
    pub batches_crc32: String,
    /// Number of the lines on epochs.
    pub epochs: usize,
    /// CRC-32 of these lines.
    pub epochs_crc32: String,
    /// CRC-32 of the line on an epoch that the end of the run cuts short at the version, where it is there. A longer run drops it, and
    /// writes another once the epoch is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_epoch_crc32: Option<String>,
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
    /// Decodes a `manifest.json` of a format version that is read.
    ///
    /// # Errors
    /// A sentence on what is wrong with it, such as another checksum than its last line says.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::check(bytes)?;
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

    /// Compares the bytes with the checksum at their end, which older manifests do not have.
    fn check(bytes: &[u8]) -> Result<(), String> {
        let is_sealed = checksum::check_json(bytes)?;
        match Self::format_in(bytes) {
            Some(format) if CHECKSUMMED.contains(&format) && !is_sealed => {
                Err("it does not end with its checksum".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The format version in a whole manifest, where it is one that is not read.
    pub fn foreign_format(bytes: &[u8]) -> Option<u32> {
        let format = Self::format_in(bytes).filter(|_| Self::check(bytes).is_ok());
        format.filter(|format| !(OLDEST_FORMAT..=SNAPSHOT_FORMAT).contains(format))
    }

    fn format_in(bytes: &[u8]) -> Option<u32> {
        let format: Option<Format> = read(bytes).ok();
        format.map(|format| format.format_version)
    }

    /// The bytes of `manifest.json`: JSON, whose last line but one is the checksum of all lines before it.
    ///
    /// # Errors
    /// A sentence when a value cannot be encoded as JSON.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        Ok(checksum::seal_json(bytes))
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

    /// Every byte counts: flipped bits, bytes that are missing, and bytes that are too many.
    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let bytes = fixtures::manifest(500).encode().unwrap();
        let text: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(text["crc32"].as_str().unwrap().len(), 8);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Manifest::decode(&damaged).is_err(), "byte {at}, bit {bit}");
                assert_eq!(
                    Manifest::foreign_format(&damaged),
                    None,
                    "byte {at}, bit {bit}"
                );
            }
            let mut cut = bytes.clone();
            cut.remove(at);
            assert!(Manifest::decode(&cut).is_err(), "without byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "the first {at}");
        }
        assert!(Manifest::decode(&[&bytes[..], b" "].concat()).is_err());
    }

    /// Those of the format before have no checksum, and no seal of the metrics.
    #[test]
    fn former_manifests_are_read() {
        let mut manifest = fixtures::manifest(500);
        manifest.format_version = OLDEST_FORMAT;
        manifest.metrics = None;
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        assert_eq!(Manifest::foreign_format(&bytes), None);
    }

    #[test]
    fn other_formats_and_foreign_files_are_named() {
        let mut manifest = fixtures::manifest(1);
        manifest.format_version = 3;
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::foreign_format(&bytes), Some(3));
        assert_eq!(Manifest::foreign_format(b"{}"), None);
        let error = Manifest::decode(b"PK\x03\x04").unwrap_err();
        assert!(error.starts_with("it is no manifest: "), "{error}");
        let mut manifest = fixtures::manifest(1);
        manifest.files.pop();
        let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
        assert_eq!(error, "it names 1 files for 2 stages");
    }
}
