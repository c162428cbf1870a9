//! The files of the last and the best weights of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use stagger_engine::StageState;
use stagger_runtime::Event;

use crate::error::ReportError;
use crate::run_folder::{BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, RunFolder};
use crate::sink::Sink;
use crate::snapshot::{Complete, SnapshotParts};
use crate::weights_file::{Weights, write_weights};

/// Version of the metadata's layout, under the key `stagger_format`.
const WEIGHTS_FORMAT: &str = "1";

/// Writes the weights of all stages as one model at every snapshot: to `last.safetensors` always, to `best.safetensors`
/// when the top-1 test accuracy of this version is higher than that of all versions before it.
pub struct WeightsFiles {
    last: PathBuf,
    best: PathBuf,
    metadata: BTreeMap<String, String>,
    snapshots: SnapshotParts,
    best_top1: Option<f64>,
}

impl WeightsFiles {
    /// Writes into this folder. The files' metadata are `metadata`, `format` (`pt`: PyTorch's names and layouts),
    /// `stagger_format`, `version` and, if the version was evaluated, `test_top1` in percent.
    pub fn new(folder: &RunFolder, metadata: BTreeMap<String, String>) -> Self {
        Self {
            last: folder.file(LAST_WEIGHTS_FILE),
            best: folder.file(BEST_WEIGHTS_FILE),
            metadata,
            snapshots: SnapshotParts::default(),
            best_top1: None,
        }
    }

    /// The same for a resumed run, with its best top-1 test accuracy so far in percent.
    #[must_use]
    pub fn with_best(mut self, top1: Option<f64>) -> Self {
        self.best_top1 = top1;
        self
    }

    fn write(&mut self, snapshot: Complete) -> Result<(), ReportError> {
        let mut metadata = self.metadata.clone();
        metadata.insert("format".to_owned(), "pt".to_owned());
        metadata.insert("stagger_format".to_owned(), WEIGHTS_FORMAT.to_owned());
        metadata.insert("version".to_owned(), snapshot.version.to_string());
        if let Some(top1) = snapshot.test_top1 {
            metadata.insert("test_top1".to_owned(), top1.to_string());
        }
        let mut state = StageState::default();
        for stage in &snapshot.stages {
            state.merge(stage.state.clone().without_optimizer());
        }
        let weights = Weights { metadata, state };
        write_weights(&self.last, &weights)?;
        let Some(top1) = snapshot.test_top1 else {
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
        match self.snapshots.event(event) {
            Some(complete) => self.write(complete),
            None => Ok(()),
        }
    }
}
