//! The files of the last and the best weights of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use stagger_engine::StageState;
use stagger_runtime::Event;

use crate::error::ReportError;
use crate::run_folder::{AVERAGE_WEIGHTS_FILE, BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, RunFolder};
use crate::sink::Sink;
use crate::snapshot::{Complete, Evaluation, Known, SnapshotParts};
use crate::weights_file::{Weights, write_weights};

/// Version of the metadata's layout, under the key `stagger_format`.
const WEIGHTS_FORMAT: &str = "1";

/// Writes the weights of all stages as one model: to `last.safetensors` at every snapshot, and to `best.safetensors` when the
/// top-1 test accuracy of a snapshot's version is higher than that of all versions before it. Where stages keep the running mean of their
/// weights, that goes to `average.safetensors` at every snapshot.
pub struct WeightsFiles {
    last: PathBuf,
    best: PathBuf,
    average: PathBuf,
    metadata: BTreeMap<String, String>,
    snapshots: SnapshotParts,
    /// Those of the last snapshot, until its version is evaluated.
    unevaluated: Option<(usize, StageState)>,
    best_top1: Option<f64>,
}

impl WeightsFiles {
    /// Writes into the folder of a run that evaluates these versions. The files' metadata are `metadata`, `format` (`pt`:
    /// PyTorch's names and layouts), `stagger_format`, `version` and, once the version is evaluated, `test_top1` in percent.
    pub fn new(
        folder: &RunFolder,
        metadata: BTreeMap<String, String>,
        evaluate_at: &[usize],
    ) -> Self {
        Self {
            last: folder.file(LAST_WEIGHTS_FILE),
            best: folder.file(BEST_WEIGHTS_FILE),
            average: folder.file(AVERAGE_WEIGHTS_FILE),
            metadata,
            snapshots: SnapshotParts::evaluated_at(evaluate_at),
            unevaluated: None,
            best_top1: None,
        }
    }

    /// The same for a resumed run, with its best top-1 test accuracy so far in percent.
    #[must_use]
    pub fn with_best(mut self, top1: Option<f64>) -> Self {
        self.best_top1 = top1;
        self
    }

    /// The same for a run that resumes from the snapshot of a version that is still to be evaluated, with its weights and
    /// statistics.
    #[must_use]
    pub fn resumed_before_evaluation(mut self, version: usize, state: StageState) -> Self {
        self.snapshots = self.snapshots.resumed_at(version);
        self.unevaluated = Some((version, state));
        self
    }

    fn taken(&mut self, Complete { version, stages }: Complete) -> Result<(), ReportError> {
        let mut whole = StageState::default();
        for stage in &stages {
            whole.merge(stage.state.clone());
        }
        if let Some(averaged) = whole.averaged() {
            let weights = Weights::of_version(&self.metadata, version, averaged, None);
            write_weights(&self.average, &weights)?;
        }
        let state = whole.without_optimizer();
        let weights = Weights::of_version(&self.metadata, version, state, None);
        write_weights(&self.last, &weights)?;
        self.unevaluated = Some((version, weights.state));
        Ok(())
    }

    fn evaluated(&mut self, of: Evaluation) -> Result<(), ReportError> {
        let unevaluated = self.unevaluated.take();
        let Some((version, state)) = unevaluated.filter(|(version, _)| *version == of.version)
        else {
            return Ok(());
        };
        let weights = Weights::of_version(&self.metadata, version, state, Some(of.test_top1));
        write_weights(&self.last, &weights)?;
        if self.best_top1.is_none_or(|best| of.test_top1 > best) {
            write_weights(&self.best, &weights)?;
            self.best_top1 = Some(of.test_top1);
        }
        Ok(())
    }
}

impl Weights {
    /// Weights of a version of a run, with its metadata, as [`WeightsFiles`] writes them.
    pub fn of_version(
        metadata: &BTreeMap<String, String>,
        version: usize,
        state: StageState,
        test_top1: Option<f64>,
    ) -> Self {
        let mut metadata = metadata.clone();
        metadata.insert("format".to_owned(), "pt".to_owned());
        metadata.insert("stagger_format".to_owned(), WEIGHTS_FORMAT.to_owned());
        metadata.insert("version".to_owned(), version.to_string());
        if let Some(top1) = test_top1 {
            metadata.insert("test_top1".to_owned(), top1.to_string());
        }
        Self { metadata, state }
    }
}

impl Sink for WeightsFiles {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        for known in self.snapshots.event(event) {
            match known {
                Known::Snapshot(complete) => self.taken(complete)?,
                Known::Evaluation(evaluation) => self.evaluated(evaluation)?,
            }
        }
        Ok(())
    }
}
