//! The sink that writes snapshots in the background.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use stagger_runtime::snapshot::StageSnapshot;
use stagger_runtime::{Event, Outcome, RunError};

use super::manifest::Manifest;
use super::parts::{Complete, SnapshotParts};
use super::store::SnapshotStore;
use crate::error::ReportError;
use crate::sink::Sink;

/// A snapshot that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version.
    pub version: usize,
    /// Size of its files.
    pub size_bytes: u64,
    /// Time that the background thread took to write it.
    pub took: Duration,
}

/// Collects the stages' parts of each snapshot and passes it to a thread that writes it.
///
/// The thread writes one snapshot while one more waits in its queue. If the disk is slower than that, the newest snapshot
/// replaces those before it that have not entered the queue. So training does not wait for the disk, and the last snapshot
/// is always written.
pub struct SnapshotWriter {
    folder: PathBuf,
    parts: SnapshotParts,
    describe: Box<dyn FnMut(usize) -> Manifest>,
    on_written: Box<dyn FnMut(&Written)>,
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<Written, ReportError>>,
    thread: Option<JoinHandle<()>>,
    /// The newest snapshot that the queue had no room for.
    waiting: Option<Job>,
}

struct Job {
    stages: Vec<Arc<StageSnapshot>>,
    manifest: Manifest,
}

impl SnapshotWriter {
    /// Writes into the folder of a run that starts or resumes at `version`, and keeps the newest `keep` snapshots and the
    /// one with the best test accuracy. `describe` returns the manifest of a version, without files and accuracy, once all
    /// stages have taken its snapshot; `on_written` is called for every snapshot on disk.
    ///
    /// # Errors
    /// [`ReportError::Io`] when leftovers of a crash cannot be removed or the thread cannot be started.
    pub fn start(
        run: &Path,
        version: usize,
        keep: usize,
        describe: impl FnMut(usize) -> Manifest + 'static,
        on_written: impl FnMut(&Written) + 'static,
    ) -> Result<Self, ReportError> {
        let mut store = SnapshotStore::of_run(run);
        store.clean(version)?;
        let (jobs, jobs_out) = sync_channel(1);
        let (results_in, results) = channel();
        let thread = thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || write_all(&mut store, keep, &jobs_out, &results_in))
            .map_err(|source| ReportError::io("start writing into", run, source))?;
        Ok(Self {
            folder: run.to_owned(),
            parts: SnapshotParts::default(),
            describe: Box::new(describe),
            on_written: Box::new(on_written),
            jobs: Some(jobs),
            results,
            thread: Some(thread),
            waiting: None,
        })
    }

    /// Takes the results of the thread so far.
    fn take_results(&mut self) -> Result<(), ReportError> {
        while let Ok(result) = self.results.try_recv() {
            (self.on_written)(&result?);
        }
        Ok(())
    }

    /// Passes the waiting snapshot to the thread, if its queue has room.
    fn send_waiting(&mut self) -> Result<(), ReportError> {
        let (Some(job), Some(jobs)) = (self.waiting.take(), &self.jobs) else {
            return Ok(());
        };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job)) => {
                self.waiting = Some(job);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(self.thread_is_gone()),
        }
    }

    fn thread_is_gone(&self) -> ReportError {
        let source = io::Error::other("the thread that writes snapshots has ended early");
        ReportError::io("write snapshots into", &self.folder, source)
    }
}

/// The thread: writes one snapshot after the other.
fn write_all(
    store: &mut SnapshotStore,
    keep: usize,
    jobs: &Receiver<Job>,
    results: &Sender<Result<Written, ReportError>>,
) {
    for Job { stages, manifest } in jobs {
        let (began, version) = (Instant::now(), manifest.version);
        let written = store.write(&stages, manifest).and_then(|size_bytes| {
            store.prune(keep)?;
            Ok(Written {
                version,
                size_bytes,
                took: began.elapsed(),
            })
        });
        // The sink is dropped early only when the run is torn down.
        if results.send(written).is_err() {
            return;
        }
    }
}

impl Sink for SnapshotWriter {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let Some(Complete {
            version,
            stages,
            test_top1,
        }) = self.parts.event(event)
        {
            let manifest = Manifest {
                test_top1,
                ..(self.describe)(version)
            };
            self.waiting = Some(Job { stages, manifest });
        }
        self.take_results()?;
        self.send_waiting()
    }

    /// Waits until the last snapshot is on disk.
    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        let jobs = self.jobs.take();
        if let (Some(job), Some(jobs)) = (self.waiting.take(), jobs)
            && jobs.send(job).is_err()
        {
            return Err(self.thread_is_gone());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            return Err(self.thread_is_gone());
        }
        self.take_results()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::snapshot::fixtures;

    fn evaluated(version: usize, correct: usize) -> Event {
        Event::Evaluated {
            version,
            samples: 100,
            loss: 1.0,
            correct_top1: correct,
            correct_top5: correct,
            at: Duration::ZERO,
        }
    }

    fn part(version: usize, stage: usize) -> Event {
        let snapshot = fixtures::snapshot(version).stages.swap_remove(stage);
        Event::Snapshot {
            stage,
            version,
            snapshot: Arc::new(snapshot),
        }
    }

    fn writer(run: &Path, written: &Rc<RefCell<Vec<usize>>>) -> SnapshotWriter {
        let heard = Rc::clone(written);
        let on_written = move |of: &Written| heard.borrow_mut().push(of.version);
        let mut writer = SnapshotWriter::start(run, 0, 2, fixtures::manifest, on_written).unwrap();
        writer.event(&Event::Started { stages: 2 }).unwrap();
        writer
    }

    const OUTCOME: Outcome = Outcome {
        version: 3,
        interrupted: false,
        wall: Duration::ZERO,
    };

    #[test]
    fn a_version_is_written_once_all_stages_are_there_and_the_last_for_certain() {
        let run = tempfile::tempdir().unwrap();
        let written = Rc::default();
        let mut writer = writer(run.path(), &written);
        for event in [
            part(1, 0),
            part(2, 0),
            evaluated(2, 42),
            part(1, 1),
            part(2, 1),
        ] {
            writer.event(&event).unwrap();
        }
        for version in 3..40 {
            writer.event(&part(version, 1)).unwrap();
            writer.event(&part(version, 0)).unwrap();
        }
        // This one stays incomplete, as if its run had died.
        writer.event(&part(40, 0)).unwrap();
        writer.finish(Ok(&OUTCOME)).unwrap();
        let written = written.borrow();
        assert_eq!(written.last(), Some(&39));
        assert!(written.is_sorted());

        let mut store = SnapshotStore::of_run(run.path());
        let (manifest, snapshot) = store.latest().unwrap().found.unwrap();
        assert_eq!(snapshot, fixtures::snapshot(39));
        // That version was not evaluated.
        assert_eq!(manifest.test_top1, None);
    }

    #[test]
    fn the_accuracy_is_that_of_the_version() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = writer(run.path(), &Rc::default());
        for event in [part(2, 0), evaluated(2, 42), part(2, 1)] {
            writer.event(&event).unwrap();
        }
        writer.finish(Ok(&OUTCOME)).unwrap();
        let mut store = SnapshotStore::of_run(run.path());
        let (manifest, _) = store.latest().unwrap().found.unwrap();
        assert_eq!(manifest.test_top1, Some(42.0));
    }

    #[test]
    fn a_disk_that_fails_ends_the_run() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("snapshots"), "a file in the way").unwrap();
        let written = Rc::default();
        let started = SnapshotWriter::start(run.path(), 0, 2, fixtures::manifest, |_| ());
        // The search for leftovers fails. A folder that vanishes later is noticed at the end.
        assert!(started.is_err());
        std::fs::remove_file(run.path().join("snapshots")).unwrap();
        let mut writer = writer(run.path(), &written);
        std::fs::write(run.path().join("snapshots"), "a file in the way").unwrap();
        writer.event(&part(1, 0)).unwrap();
        writer.event(&part(1, 1)).unwrap();
        let error = writer.finish(Ok(&OUTCOME)).unwrap_err().to_string();
        assert!(error.contains("v00000001"), "{error}");
    }
}
