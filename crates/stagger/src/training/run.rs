//! What came of a run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stagger_engine::{Profile, StageState};
use stagger_report::{
    EpochSummary, LAST_WEIGHTS_FILE, METRICS_FILE, Record, RunFolder, RunSummary, Unprinted,
    peak_resident_bytes, read_metrics, read_weights_inside,
};
use stagger_runtime::EarlyEnd;

use super::final_test::FinalTest;
use super::journal::Journal;
use super::session::{StartPoint, Stretch};
use crate::error::Error;
use crate::job::Job;

/// What came of a run that did not fail.
#[derive(Clone, Debug)]
pub struct Run {
    /// What ran: model, data set and schedule.
    pub title: String,
    /// Its run folder. `None` without one, and when nothing has been trained.
    pub folder: Option<PathBuf>,
    /// Version of the parameters at the end: batches trained, also before the run was resumed.
    pub version: usize,
    /// Whether an interrupt ended it early.
    pub interrupted: bool,
    /// What ended it before its last batch, where that was one of its options.
    pub ended_by: Option<EarlyEnd>,
    /// From the first batch to the end of the last stage, evaluations included; since the run was resumed.
    pub wall: Duration,
    /// The last epoch: its losses and accuracies.
    pub last_epoch: Option<EpochSummary>,
    /// Version and top-1 test accuracy, in percent, of the best evaluation.
    pub best: Option<(usize, f64)>,
    /// Scores on the test split, where there is one beside the images that choose the best weights.
    pub final_test: Option<FinalTest>,
    /// Throughput, and where the time of each stage went, since the run was resumed or rolled back.
    pub speed: RunSummary,
    /// The same of backpropagation on the same stages, where it was timed.
    pub baseline: Option<RunSummary>,
    /// What snapshots cost each stage.
    pub snapshots: Vec<SnapshotCost>,
    /// The most memory that the process had since training began, where the system says it.
    pub peak_resident_bytes: Option<u64>,
    /// The first error in writing lines to the standard output; a reader that has gone away is none.
    pub unprinted: Unprinted,
    /// Time per kind of kernel of each stage, where it was asked for.
    pub profiles: Vec<(usize, Profile)>,
    weights: Weights,
}

/// What snapshots cost a stage: the time in which it takes them and does not train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCost {
    /// In all.
    pub stalled: Duration,
    /// Snapshots taken.
    pub taken: usize,
}

/// Where the last weights are.
#[derive(Clone, Debug)]
enum Weights {
    File(PathBuf),
    Memory(StageState),
    None,
}

impl Run {
    pub(super) fn of(
        job: &Job,
        folder: Option<&RunFolder>,
        stretch: Stretch,
        baseline: Option<RunSummary>,
    ) -> Result<Self, Error> {
        let outcome = stretch.ended?;
        (stretch.finished).map_err(|error| Error::from(error).in_training())?;
        Ok(Self {
            title: title(job),
            folder: folder.map(|folder| folder.path().to_owned()),
            version: outcome.version,
            interrupted: outcome.interrupted,
            ended_by: stretch.ended_by,
            wall: outcome.wall,
            last_epoch: stretch.last_epoch,
            best: stretch.summary.best_test_top1,
            final_test: None,
            speed: stretch.summary,
            baseline,
            snapshots: stretch.snapshots,
            peak_resident_bytes: peak_resident_bytes(),
            unprinted: Unprinted::default(),
            profiles: stretch.profiles,
            weights: match (folder, stretch.last_weights) {
                _ if job.emulated().is_some() => Weights::None,
                (Some(folder), _) => Weights::File(folder.file(LAST_WEIGHTS_FILE)),
                (None, Some(state)) => Weights::Memory(state),
                (None, None) => Weights::None,
            },
        })
    }

    /// The same, with what became of its lines.
    pub(super) fn printed(mut self, journal: &Journal) -> Self {
        self.unprinted = journal.unprinted.clone();
        self
    }

    /// A run that was interrupted before it trained.
    pub(super) fn interrupted(job: &Job) -> Self {
        Self {
            interrupted: true,
            ..Self::empty(job)
        }
    }

    /// A resumed run that has nothing left to do.
    pub(super) fn finished(folder: &Path, job: &Job, from: &StartPoint) -> Self {
        let records = read_metrics(&folder.join(METRICS_FILE)).unwrap_or_default();
        let mut records = records.into_iter().rev();
        Self {
            folder: Some(folder.to_owned()),
            version: from.version(),
            last_epoch: records.find_map(|record| match record {
                Record::Epoch(epoch) => Some(epoch),
                _ => None,
            }),
            best: from.progress.best,
            weights: match job.emulated() {
                Some(_) => Weights::None,
                None => Weights::File(folder.join(LAST_WEIGHTS_FILE)),
            },
            ..Self::empty(job)
        }
    }

    fn empty(job: &Job) -> Self {
        Self {
            title: title(job),
            folder: None,
            version: 0,
            interrupted: false,
            ended_by: None,
            wall: Duration::ZERO,
            last_epoch: None,
            best: None,
            final_test: None,
            speed: stagger_report::RunTally::new(0).summary(),
            baseline: None,
            snapshots: Vec::new(),
            peak_resident_bytes: None,
            unprinted: Unprinted::default(),
            profiles: Vec::new(),
            weights: Weights::None,
        }
    }

    /// Mean training loss of the last epoch; `None` of an emulated run, which computes none, and where every batch was left out.
    pub fn loss(&self) -> Option<f64> {
        let computed = self.last_epoch.as_ref().filter(|epoch| epoch.has_learned());
        computed.map(|epoch| epoch.train_loss)
    }

    /// Top-1 test accuracy of the last evaluation, in percent.
    pub fn test_accuracy(&self) -> Option<f64> {
        self.last_epoch.as_ref().and_then(|epoch| epoch.test_top1)
    }

    /// Parameters and running statistics at the end, under PyTorch's names.
    ///
    /// # Errors
    /// When they cannot be read from the run folder, or when nothing has been trained, as in an emulated run.
    pub fn weights(&self) -> Result<StageState, Error> {
        match &self.weights {
            Weights::File(path) => Ok(read_weights_inside(path)?.state),
            Weights::Memory(state) => Ok(state.clone()),
            Weights::None => Err(Error::NoWeights),
        }
    }
}

fn title(job: &Job) -> String {
    let emulated = job.emulated().map_or("", |_| ", emulated");
    format!(
        "{} on {}, {}{emulated}",
        job.model.name,
        job.split.train.name(),
        job.schedule
    )
}

impl fmt::Display for Run {
    /// One line: what ran, and what it came to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: version {}", self.title, self.version)?;
        if let Some(loss) = self.loss() {
            write!(f, ", loss {loss:.3}")?;
        }
        if let Some(top1) = self.test_accuracy() {
            write!(f, ", test {top1:.1} %")?;
        }
        if let Some((version, top1)) = self.best {
            write!(f, " (best {top1:.1} % at version {version})")?;
        }
        if self.speed.batches > 0 {
            write!(f, ", {:.0} images/s", self.speed.images_per_second)?;
        }
        Ok(())
    }
}
