//! What hears of a stretch: files of the run folder, the console, and the caller's own sinks.

use std::cell::RefCell;
use std::rc::Rc;

use stagger_engine::StageState;
use stagger_report::snapshot::{SnapshotStore, SnapshotWriter};
use stagger_report::{
    Console, EpochTally, METRICS_FILE, MetricsFile, MetricsSeals, ReportError, RunFolder, Sink,
    Sinks, TensorBoard, WeightsFiles,
};
use stagger_runtime::Event;

use super::{Progress, Session, StartPoint};
use crate::error::Error;
use crate::training::journal::Journal;
use crate::training::{labels, snapshots};

impl<'s> Session<'_, 's> {
    pub(super) fn sinks(
        &self,
        from: &StartPoint,
        tally: &EpochTally,
        journal: &Journal,
        progress: &Rc<RefCell<Progress>>,
    ) -> Result<Sinks<'s>, Error> {
        let job = self.job;
        let mut sinks = Sinks::new();
        let mut writer = None;
        if let Some(folder) = self.folder {
            // Snapshots behind this version go before the metrics that they would need.
            SnapshotStore::of_run(folder.path()).clean(from.version())?;
            let metrics = folder.file(METRICS_FILE);
            let facts = labels::facts(job);
            let metrics = MetricsFile::open(&metrics, tally.clone(), facts)?;
            writer = self.writer(folder, from, metrics.seals(), journal, progress)?;
            sinks.push(metrics);
            if job.emulated().is_none() {
                sinks.push(self.weights_files(folder, from));
            }
        }
        if let Some(log) = &journal.log {
            sinks.push(log.sink(tally.clone()));
        }
        if let Some(folder) = self.tensorboard {
            sinks.push(TensorBoard::new(folder, tally.clone()));
        }
        if let Some(console) = self.console.borrow_mut().as_mut() {
            let out = console(tally, &mut sinks);
            sinks.push(Console::new(out, tally.clone()).noting(&journal.unprinted));
        }
        sinks.push(Events(Rc::clone(&self.own_sinks)));
        // Last: by then what the snapshot says is on disk.
        if let Some(writer) = writer {
            sinks.push(writer);
        }
        Ok(sinks)
    }

    /// Writes the weights of a run, which an emulated one does not have.
    fn weights_files(&self, folder: &RunFolder, from: &StartPoint) -> WeightsFiles {
        let job = self.job;
        let best = from.progress.best.map(|(_, top1)| top1);
        let evaluate_at = &job.horizon.evaluate_at;
        let mut weights =
            WeightsFiles::new(folder, labels::metadata(job), evaluate_at).with_best(best);
        if let Some(snapshot) = from.snapshot.as_ref().filter(|_| from.is_unevaluated()) {
            let mut whole = StageState::default();
            for stage in &snapshot.stages {
                whole.merge(stage.state.clone().without_optimizer());
            }
            weights = weights.resumed_before_evaluation(snapshot.version, whole);
        }
        weights
    }

    fn writer(
        &self,
        folder: &RunFolder,
        from: &StartPoint,
        seals: MetricsSeals,
        journal: &Journal,
        progress: &Rc<RefCell<Progress>>,
    ) -> Result<Option<SnapshotWriter>, Error> {
        if self.job.snapshots.is_none() {
            return Ok(None);
        }
        let progress = Rc::clone(progress);
        let of_version = move |version| (progress.borrow_mut().at(version), seals.of(version));
        let log = journal.log.clone();
        let run = snapshots::WrittenRun {
            job: self.job,
            folder,
            commit: self.commit,
        };
        Ok(Some(run.writer(from.version(), log, of_version)?))
    }
}

/// Passes the events of a stretch on to sinks that outlive it.
struct Events<'s>(Rc<RefCell<Sinks<'s>>>);

impl Sink for Events<'_> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.0.borrow_mut().event(event)
    }
}
