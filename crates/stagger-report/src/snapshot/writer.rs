//! The sink that writes snapshots in the background.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use stagger_runtime::snapshot::StageSnapshot;
use stagger_runtime::{Event, Outcome, RunError};

use super::keep::Keep;
use super::manifest::Manifest;
use super::parts::{Complete, Evaluation, Known, SnapshotParts};
use super::store::{Scored, SnapshotStore};
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

/// Hears of every snapshot that is on disk, or left out because something else has its name.
type OnWritten = dyn FnMut(Result<&Written, &ReportError>);

/// Collects the stages' parts of each snapshot and passes it to a thread that writes it.
///
/// The thread writes one snapshot while one more waits in its queue. If the disk is slower than that, the newest snapshot
/// replaces those before it that have not entered the queue. So training does not wait for the disk, and the last snapshot
/// is always written. Only a run that may roll back waits, as it goes back by plan. What its version scores is added to its
/// manifest when it is known.
pub struct SnapshotWriter {
    folder: PathBuf,
    parts: SnapshotParts,
    describe: Box<dyn FnMut(usize) -> Manifest>,
    on_written: Box<OnWritten>,
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<Written, ReportError>>,
    thread: Option<JoinHandle<()>>,
    /// What the queue had no room for: at most one snapshot, or a few where all are written, and evaluations.
    waiting: VecDeque<Job>,
    writes_all: bool,
}

/// The most jobs that wait before training does, where all snapshots are written.
const MOST_WAITING: usize = 4;

enum Job {
    Write {
        stages: Vec<Arc<StageSnapshot>>,
        // It is far larger than the rest.
        manifest: Box<Manifest>,
    },
    AddEvaluation(Box<Scored>),
}

/// Where the run of a [`SnapshotWriter`] starts or resumes, and what it takes.
#[derive(Clone, Debug)]
pub struct SnapshotPlan<'a> {
    /// The version at which it starts or resumes.
    pub from: usize,
    /// Versions that it evaluates.
    pub evaluate_at: &'a [usize],
    /// The snapshots that stay.
    pub keep: Keep,
}

impl SnapshotWriter {
    /// Writes into the folder of a run. `describe` returns the manifest of a version, without files and accuracy: once all stages
    /// have taken its snapshot, and, where the version is evaluated, again after that, with the progress that includes it.
    /// `on_written` is called for every snapshot on disk, and for every one that is left out because something else has its name.
    ///
    /// # Errors
    /// [`ReportError::Io`] when leftovers of a crash cannot be removed or the thread cannot be started.
    pub fn start(
        run: &Path,
        plan: SnapshotPlan<'_>,
        describe: impl FnMut(usize) -> Manifest + 'static,
        on_written: impl FnMut(Result<&Written, &ReportError>) + 'static,
    ) -> Result<Self, ReportError> {
        let mut store = SnapshotStore::of_run(run);
        store.clean(plan.from)?;
        let (jobs, jobs_out) = sync_channel(1);
        let (results_in, results) = channel();
        let (keep, writes_all) = (plan.keep.clone(), plan.keep.is_for_rollbacks());
        let thread = thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || write_all(&mut store, &keep, &jobs_out, &results_in))
            .map_err(|source| ReportError::io("start writing into", run, source))?;
        Ok(Self {
            folder: run.to_owned(),
            parts: SnapshotParts::evaluated_at(plan.evaluate_at).resumed_at(plan.from),
            describe: Box::new(describe),
            on_written: Box::new(on_written),
            jobs: Some(jobs),
            results,
            thread: Some(thread),
            waiting: VecDeque::new(),
            writes_all,
        })
    }

    /// Takes the results of the thread so far.
    fn take_results(&mut self) -> Result<(), ReportError> {
        while let Ok(result) = self.results.try_recv() {
            match result {
                Err(error) if !matches!(error, ReportError::InTheWay { .. }) => return Err(error),
                told => (self.on_written)(told.as_ref()),
            }
        }
        Ok(())
    }

    /// Passes on to the thread what its queue has room for.
    fn send_waiting(&mut self) -> Result<(), ReportError> {
        let Some(jobs) = &self.jobs else {
            return Ok(());
        };
        while let Some(job) = self.waiting.pop_front() {
            if self.writes_all && self.waiting.len() >= MOST_WAITING {
                if jobs.send(job).is_err() {
                    return Err(self.thread_is_gone());
                }
                continue;
            }
            match jobs.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => {
                    self.waiting.push_front(job);
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(self.thread_is_gone()),
            }
        }
        Ok(())
    }

    /// Puts a snapshot at the end of what waits, in the place of one that has not reached the queue unless all are written.
    fn write(&mut self, Complete { version, stages }: Complete) {
        let manifest = Box::new((self.describe)(version));
        if !self.writes_all {
            self.waiting
                .retain(|job| matches!(job, Job::AddEvaluation(_)));
        }
        self.waiting.push_back(Job::Write { stages, manifest });
    }

    fn add_evaluation(&mut self, of: Evaluation) {
        let Manifest {
            progress, metrics, ..
        } = (self.describe)(of.version);
        let waiting = self.waiting.iter_mut().find_map(|job| match job {
            Job::Write { manifest, .. } if manifest.version == of.version => Some(manifest),
            _ => None,
        });
        match waiting {
            Some(manifest) => {
                manifest.test_top1 = Some(of.test_top1);
                manifest.progress = progress;
                manifest.metrics = metrics.or_else(|| manifest.metrics.take());
            }
            None => self.waiting.push_back(Job::AddEvaluation(Box::new(Scored {
                version: of.version,
                test_top1: of.test_top1,
                progress,
                metrics,
            }))),
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
    keep: &Keep,
    jobs: &Receiver<Job>,
    results: &Sender<Result<Written, ReportError>>,
) {
    for job in jobs {
        let began = Instant::now();
        let done = match job {
            Job::Write { stages, manifest } => {
                let version = manifest.version;
                store.write(&stages, *manifest).map(|size_bytes| {
                    Some(Written {
                        version,
                        size_bytes,
                        took: began.elapsed(),
                    })
                })
            }
            Job::AddEvaluation(scored) => store.add_evaluation(*scored).map(|()| None),
        };
        let done = done.and_then(|written| store.prune(keep).map(|()| written));
        // The sink is dropped early only when the run is torn down.
        if let Some(result) = done.transpose()
            && results.send(result).is_err()
        {
            return;
        }
    }
}

impl Sink for SnapshotWriter {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        for known in self.parts.event(event) {
            match known {
                Known::Snapshot(complete) => self.write(complete),
                Known::Evaluation(evaluation) => self.add_evaluation(evaluation),
            }
        }
        self.take_results()?;
        self.send_waiting()
    }

    /// Waits until all is on disk.
    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        if let Some(jobs) = self.jobs.take() {
            for job in std::mem::take(&mut self.waiting) {
                if jobs.send(job).is_err() {
                    return Err(self.thread_is_gone());
                }
            }
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
        let on_written = move |of: Result<&Written, &ReportError>| {
            heard.borrow_mut().push(of.map_or(0, |of| of.version));
        };
        let mut writer = SnapshotWriter::start(run, PLAN, describe, on_written).unwrap();
        writer.event(&Event::Started { stages: 2 }).unwrap();
        writer
    }

    const PLAN: SnapshotPlan<'_> = SnapshotPlan {
        from: 0,
        evaluate_at: &[2],
        keep: Keep::Newest(2),
    };

    /// A manifest of a version that is not evaluated yet.
    fn describe(version: usize) -> Manifest {
        Manifest {
            test_top1: None,
            ..fixtures::manifest(version)
        }
    }

    const OUTCOME: Outcome = Outcome {
        version: 3,
        interrupted: false,
        ended_by: None,
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

    /// The accuracy that the last snapshot has after these events.
    fn accuracy(events: impl IntoIterator<Item = Event>) -> Option<f64> {
        let run = tempfile::tempdir().unwrap();
        let mut writer = writer(run.path(), &Rc::default());
        for event in events {
            writer.event(&event).unwrap();
        }
        writer.finish(Ok(&OUTCOME)).unwrap();
        let mut store = SnapshotStore::of_run(run.path());
        let (manifest, _) = store.latest().unwrap().found.unwrap();
        manifest.test_top1
    }

    #[test]
    fn the_accuracy_is_that_of_the_version() {
        let (part, score) = (|stage| part(2, stage), |version| evaluated(version, 42));
        assert_eq!(accuracy([part(0), part(1), score(2)]), Some(42.0));
        // Of processes whose events overtake each other.
        assert_eq!(accuracy([part(0), score(2), part(1)]), Some(42.0));
        assert_eq!(accuracy([score(2), part(0), part(1)]), Some(42.0));
        // Of another version, and of one that the run itself does not evaluate.
        let late = |stage| super::tests::part(3, stage);
        assert_eq!(accuracy([part(0), part(1), score(1)]), None);
        assert_eq!(accuracy([late(0), late(1), score(3)]), None);
    }

    #[test]
    fn the_accuracy_reaches_a_snapshot_that_is_on_disk_and_one_that_waits() {
        let run = tempfile::tempdir().unwrap();
        let written: Rc<RefCell<Vec<usize>>> = Rc::default();
        let mut writer = writer(run.path(), &written);
        writer.event(&part(2, 0)).unwrap();
        writer.event(&part(2, 1)).unwrap();
        while written.borrow().is_empty() {
            writer.event(&Event::Interrupted { batch: 9 }).unwrap();
            thread::yield_now();
        }
        let mut store = SnapshotStore::of_run(run.path());
        let (before, snapshot) = store.latest().unwrap().found.unwrap();
        assert_eq!(before.test_top1, None);
        // Another process goes on from there, and evaluates.
        let plan = SnapshotPlan { from: 2, ..PLAN };
        writer.finish(Ok(&OUTCOME)).unwrap();
        let mut writer = SnapshotWriter::start(run.path(), plan, describe, |_| ()).unwrap();
        writer.event(&Event::Started { stages: 2 }).unwrap();
        writer.event(&evaluated(2, 42)).unwrap();
        writer.finish(Ok(&OUTCOME)).unwrap();
        let (after, same) = store.latest().unwrap().found.unwrap();
        assert_eq!(after.test_top1, Some(42.0));
        assert_eq!((after.files, same), (before.files, snapshot));
    }

    #[test]
    fn a_disk_that_fails_ends_the_run() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("snapshots"), "a file in the way").unwrap();
        let written = Rc::default();
        let started = SnapshotWriter::start(run.path(), PLAN, describe, |_| ());
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
