//! The last and the best weights of a run, kept up to date on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use stagger_engine::StageState;
use stagger_runtime::{Event, Outcome, RunError};

use crate::error::ReportError;
use crate::run_folder::{BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, RunFolder};
use crate::sink::Sink;
use crate::stage_tally::percent;
use crate::weights_file::{Weights, write_weights};

/// Version of the metadata's layout, under the key `stagger_format`.
const WEIGHTS_FORMAT: &str = "1";

/// Gathers the stages' parts of each version that is snapshot and writes them as one model:
/// `last.safetensors` always, `best.safetensors` when the top-1 test accuracy of that version is
/// higher than ever before.
///
/// Parts of several versions may be under way at once. The accuracy of a version is known before
/// the last stage's part of it comes: a stage evaluates before it snapshots (docs/algorithm.md,
/// "Semantics that are easy to get wrong").
pub struct WeightsFiles {
    last: PathBuf,
    best: PathBuf,
    metadata: BTreeMap<String, String>,
    stages: usize,
    /// Versions that are not complete.
    pending: BTreeMap<usize, Parts>,
    best_top1: Option<f64>,
}

#[derive(Default)]
struct Parts {
    /// Of the stages whose part has come, merged.
    state: StageState,
    stages: usize,
    test_top1: Option<f64>,
}

impl WeightsFiles {
    /// Writes into this folder. To the caller's metadata come `format` (`pt`: PyTorch's names and
    /// layouts), `stagger_format`, `version` and, where it is known, `test_top1` in percent.
    pub fn new(folder: &RunFolder, metadata: BTreeMap<String, String>) -> Self {
        Self {
            last: folder.file(LAST_WEIGHTS_FILE),
            best: folder.file(BEST_WEIGHTS_FILE),
            metadata,
            stages: 0,
            pending: BTreeMap::new(),
            best_top1: None,
        }
    }

    /// The same for a run that goes on, whose best accuracy so far is known.
    #[must_use]
    pub fn with_best(mut self, top1: Option<f64>) -> Self {
        self.best_top1 = top1;
        self
    }

    fn write(&mut self, version: usize, parts: Parts) -> Result<(), ReportError> {
        let mut metadata = self.metadata.clone();
        metadata.insert("format".to_owned(), "pt".to_owned());
        metadata.insert("stagger_format".to_owned(), WEIGHTS_FORMAT.to_owned());
        metadata.insert("version".to_owned(), version.to_string());
        if let Some(top1) = parts.test_top1 {
            metadata.insert("test_top1".to_owned(), top1.to_string());
        }
        let weights = Weights {
            metadata,
            state: parts.state,
        };
        write_weights(&self.last, &weights)?;
        let Some(top1) = parts.test_top1 else {
            return Ok(());
        };
        if self.best_top1.is_none_or(|best| top1 > best) {
            write_weights(&self.best, &weights)?;
            self.best_top1 = Some(top1);
        }
        Ok(())
    }
}

impl Sink for WeightsFiles {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Started { stages } => self.stages = *stages,
            Event::Evaluated {
                version,
                samples,
                correct_top1,
                ..
            } => {
                let parts = self.pending.entry(*version).or_default();
                parts.test_top1 = Some(percent(*correct_top1, *samples));
            }
            Event::Snapshot {
                version, snapshot, ..
            } => {
                let parts = self.pending.entry(*version).or_default();
                let state = snapshot.state.clone();
                parts.state.merge(state.without_optimizer());
                parts.stages += 1;
                if parts.stages < self.stages {
                    return Ok(());
                }
                // Every stage goes through the versions in order: older ones were evaluated only.
                let newer = self.pending.split_off(&(version + 1));
                let mut older = std::mem::replace(&mut self.pending, newer);
                if let Some(parts) = older.remove(version) {
                    self.write(*version, parts)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        Ok(())
    }
}
