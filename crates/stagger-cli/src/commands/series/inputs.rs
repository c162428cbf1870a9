//! Files that the runs of a series read beside their images: profiles and weights. Runs that are kept have to have read the same as those
//! that are still to be made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use stagger::TrainingOptions;
use stagger::data::{foreign, shown_path};
use stagger::model::Balance;
use stagger::report::checksum::crc32;

use super::SeriesFolder;

/// Holds the checksum of each file that runs have read.
const FILE: &str = "inputs.json";

/// Far more than any series has.
const MOST_BYTES: u64 = 1 << 24;

/// Larger than any weights.
const MOST_INPUT_BYTES: u64 = 1 << 36;

impl SeriesFolder {
    /// Makes sure that what the runs with these options read is what the runs that are `kept` have read.
    ///
    /// # Errors
    /// One sentence on the first file that has changed, or that cannot be read.
    pub fn check_inputs(&self, all: &[TrainingOptions], kept: bool) -> Result<()> {
        let path = self.path().join(FILE);
        let mut known = match foreign::is_there(&path) {
            true => read(&path)?,
            false => BTreeMap::new(),
        };
        let files: BTreeSet<PathBuf> = all.iter().flat_map(files).collect();
        let mut is_new = false;
        for file in files {
            let bytes = foreign::read(&file, MOST_INPUT_BYTES)
                .with_context(|| format!("could not read {}", shown_path(&file)))?;
            let found = crc32(&bytes);
            let name = file.to_string_lossy().into_owned();
            match known.get(&name) {
                Some(then) if *then == found => continue,
                Some(_) if kept => bail!(
                    "{} has changed since the {} began, and its finished runs are by what it was; put it back, or choose another --output",
                    shown_path(&file),
                    self.noun
                ),
                _ => {}
            }
            known.insert(name, found);
            is_new = true;
        }
        if is_new {
            let text = serde_json::to_string_pretty(&known)
                .context("the checksums of files cannot be written as JSON")?;
            self.write(FILE, &format!("{text}\n"))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let advice = || {
        format!(
            "{} cannot be read; move it away if the files that the runs read are what they were",
            shown_path(path)
        )
    };
    let text = foreign::text_inside(path, MOST_BYTES).with_context(advice)?;
    serde_json::from_str(&text).with_context(advice)
}

/// The files that a run with these options reads. Those that are not there, the run tells of.
fn files(options: &TrainingOptions) -> Vec<PathBuf> {
    let emulated = options.emulate.iter();
    let emulated = emulated.filter(|said| !said.starts_with("equal:"));
    let mut named: Vec<PathBuf> = emulated.map(PathBuf::from).collect();
    if let Some(Ok(Balance::File(path))) = options.balance.as_ref().map(|said| said.parse()) {
        named.push(path);
    }
    named.extend(options.resume_weights.clone());
    named.extend(options.pretrained.clone());
    named.into_iter().flat_map(|path| within(&path)).collect()
}

/// A file itself, and of a run or a snapshot its weights.
fn within(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let entries = entries.map(|entry| entry.path());
    let are_weights = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|found| found == "safetensors")
    };
    entries.filter(are_weights).collect()
}
