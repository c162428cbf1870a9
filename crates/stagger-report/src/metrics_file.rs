//! Writer of `metrics.jsonl`.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use stagger_data::foreign;
use stagger_runtime::{Acted, Event, Outcome, RunError};
use stagger_schedule::Action;

use crate::atomic_file::write_atomic;
use crate::disk_watch;
use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::memory::peak_resident_bytes;
use crate::metrics::{BatchRecord, EndRecord, METRICS_FORMAT, Record, RunRecord, SkippedRecord};
use crate::metrics_reader;
use crate::metrics_seal::MetricsSeals;
use crate::new_place::folder_of;
use crate::passing_error::once_more;
use crate::sink::Sink;
use crate::snapshot::SnapshotParts;
use crate::stage_tally::percent;

/// A file, or its replacement in tests.
trait MetricsOutput: Write + Send {
    /// Flushes written data to disk.
    fn sync(&self) -> io::Result<()>;

    /// Whether the file at `path` is this one, and has at least so many bytes.
    fn is_at(&self, path: &Path, bytes: u64) -> io::Result<bool>;
}

impl MetricsOutput for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_at(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        let own = self.metadata()?;
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            there => Ok(is_same_file(&own, &there?) && own.len() >= bytes),
        }
    }
}

#[cfg(unix)]
fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Longest time of training for which a line is kept from the file.
const FLUSHED_EVERY: Duration = Duration::from_secs(1);

/// Writes one [`Record`] per line. The lines are flushed to the file at the start, at the end of each epoch and of the run, and in
/// between when a second has passed since the last time, for those who watch the run; and to disk with every snapshot.
pub struct MetricsFile {
    out: BufWriter<Box<dyn MetricsOutput>>,
    path: PathBuf,
    /// Bytes of the lines so far.
    bytes: u64,
    tally: EpochTally,
    stages: usize,
    /// Version of the last stage's parameters.
    version: usize,
    /// End of the latest action of any stage.
    last_at: Duration,
    /// When the lines were last flushed in the middle of an epoch.
    flushed_at: Duration,
    snapshots: SnapshotParts,
    seals: MetricsSeals,
}

impl MetricsFile {
    /// Creates the file and writes the `run` record with these facts.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file exists or cannot be written.
    pub fn create(
        path: &Path,
        tally: EpochTally,
        facts: Map<String, Value>,
    ) -> Result<Self, ReportError> {
        let file = File::create_new(path);
        let file = file.map_err(|source| ReportError::io("create", path, source))?;
        Self::new(Box::new(file), path, tally, facts)
    }

    /// Opens the file of a run that starts or resumes where `tally` does: at version 0 as [`MetricsFile::create`] after
    /// removing a file that an earlier attempt has left, at later versions as [`MetricsFile::resume`].
    ///
    /// # Errors
    /// Those of the two, and [`ReportError::Io`] when the file of an earlier attempt cannot be removed.
    pub fn open(
        path: &Path,
        tally: EpochTally,
        facts: Map<String, Value>,
    ) -> Result<Self, ReportError> {
        if tally.start_version() > 0 {
            return Self::resume(path, tally);
        }
        match fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ReportError::io("remove", path, source))
            }
            _ => Self::create(path, tally, facts),
        }
    }

    /// Resumes the file at the version at which `tally` starts: keeps the records up to there, drops the later ones, and
    /// appends.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file cannot be read or written, [`ReportError::Metrics`] when it lacks the record of a
    /// batch before the version, or that record cannot be read.
    pub fn resume(path: &Path, tally: EpochTally) -> Result<Self, ReportError> {
        let version = tally.start_version();
        let mut batches = 0;
        let mut is_before = |batch| {
            batches += usize::from(batch < version);
            batch < version
        };
        let seals = MetricsSeals::default();
        let (kept, end) = metrics_reader::keep_lines(path, |record, line| {
            let is_kept = match record {
                Record::Run(_) => true,
                Record::Batch(batch) => is_before(batch.batch),
                Record::Skipped(skipped) => is_before(skipped.batch),
                // The summary of an epoch that an interrupt cut short is written again when the epoch is complete.
                Record::Epoch(epoch) => {
                    let index = epoch.epoch.checked_sub(1);
                    // So is one whose evaluation is made again.
                    let is_evaluated =
                        epoch.version < version || !tally.resumes_before_evaluation();
                    epoch.version <= version
                        && is_evaluated
                        && index.is_some_and(|index| epoch.version == tally.plan().end_of(index))
                }
                Record::End(_) => false,
            };
            if is_kept {
                seals.take(record, line, tally.plan().batches_per_epoch);
            }
            is_kept
        })?;
        if batches != version {
            return Err(ReportError::Metrics {
                path: path.to_owned(),
                line: end.line,
                what: end.fault.unwrap_or_else(|| {
                    format!("{batches} batches before version {version}; {version} were expected")
                }),
            });
        }
        write_atomic(path, &kept)?;
        let file = foreign::append(path).map_err(|source| ReportError::io("open", path, source))?;
        let mut metrics = Self::onto(Box::new(file), path, tally);
        metrics.seals = seals;
        metrics.bytes = kept.len() as u64;
        Ok(metrics)
    }

    /// Checksums of what the file holds, for the manifests of snapshots.
    pub fn seals(&self) -> MetricsSeals {
        self.seals.clone()
    }

    fn onto(out: Box<dyn MetricsOutput>, path: &Path, tally: EpochTally) -> Self {
        Self {
            seals: MetricsSeals::default(),
            out: BufWriter::with_capacity(1 << 16, out),
            path: path.to_owned(),
            bytes: 0,
            version: tally.start_version(),
            snapshots: SnapshotParts::evaluated_at(&tally.plan().evaluate_at)
                .resumed_at(tally.start_version()),
            tally,
            stages: 0,
            last_at: Duration::ZERO,
            flushed_at: Duration::ZERO,
        }
    }

    fn new(
        out: Box<dyn MetricsOutput>,
        path: &Path,
        tally: EpochTally,
        facts: Map<String, Value>,
    ) -> Result<Self, ReportError> {
        let mut metrics = Self::onto(out, path, tally);
        metrics.write(&Record::Run(RunRecord {
            format_version: METRICS_FORMAT,
            facts,
        }))?;
        metrics.flush()?;
        Ok(metrics)
    }

    fn write(&mut self, record: &Record) -> Result<(), ReportError> {
        let mut line = serde_json::to_vec(record).map_err(|error| ReportError::Encode {
            path: self.path.clone(),
            what: error.to_string(),
        })?;
        line.push(b'\n');
        disk_watch::during("write", &self.path, || self.out.write_all(&line))
            .map_err(|source| ReportError::io("write", &self.path, source))?;
        self.bytes += line.len() as u64;
        self.seals
            .take(record, &line, self.tally.plan().batches_per_epoch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ReportError> {
        self.flush()?;
        let synced = disk_watch::during("flush", &self.path, || self.out.get_ref().sync());
        synced.map_err(|source| ReportError::io("write", &self.path, source))?;
        self.check()
    }

    /// No snapshot can be resumed whose lines are gone, so the run ends where another program has taken them.
    fn check(&self) -> Result<(), ReportError> {
        let mut is_there = false;
        let looked = once_more(|| {
            is_there = self.out.get_ref().is_at(&self.path, self.bytes)?;
            Ok(())
        });
        looked.map_err(|source| ReportError::io("read", &self.path, source))?;
        match is_there {
            true => Ok(()),
            // Its own advice is for a run whose folder was renamed.
            false if !folder_of(&self.path).is_dir() => {
                let gone = ErrorKind::NotFound.into();
                Err(ReportError::io("write", &self.path, gone))
            }
            false => Err(ReportError::TakenAway {
                path: self.path.clone(),
            }),
        }
    }

    /// Flushes what another program would otherwise wait for.
    fn flush_at(&mut self, at: Duration) -> Result<(), ReportError> {
        if at < self.flushed_at + FLUSHED_EVERY {
            return Ok(());
        }
        self.flushed_at = at;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ReportError> {
        disk_watch::during("write", &self.path, || self.out.flush())
            .map_err(|source| ReportError::io("write", &self.path, source))
    }
}

impl Sink for MetricsFile {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match *event {
            Event::Started { stages } => self.stages = stages,
            Event::Acted(Acted {
                stage,
                action,
                ended_at,
                ..
            }) => {
                self.last_at = self.last_at.max(ended_at);
                if let Action::Update { version } = action
                    && stage + 1 == self.stages
                {
                    self.version = version + 1;
                }
            }
            Event::Trained {
                batch,
                samples,
                loss,
                correct_top1,
                correct_top5,
                learning_rate,
                at,
            } => {
                self.write(&Record::Batch(BatchRecord {
                    batch,
                    epoch: self.tally.plan().epoch_of(batch) + 1,
                    loss,
                    top1: percent(correct_top1, samples),
                    top5: percent(correct_top5, samples),
                    lr: learning_rate,
                    samples,
                    at: self.tally.elapsed_before() + at,
                }))?;
                self.flush_at(at)?;
            }
            Event::Skipped { batch, at, .. } => {
                self.write(&Record::Skipped(SkippedRecord {
                    batch,
                    epoch: self.tally.plan().epoch_of(batch) + 1,
                    at: self.tally.elapsed_before() + at,
                }))?;
                self.flush_at(at)?;
            }
            _ => {}
        }
        if let Some(summary) = self.tally.event(event) {
            self.write(&Record::Epoch(summary))?;
            self.flush()?;
        }
        // A sink that writes snapshots comes after this one: the metrics of a snapshot, or of its evaluation, are on disk before
        // the snapshot says so.
        if !self.snapshots.event(event).is_empty() {
            self.sync()?;
        }
        Ok(())
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        for summary in self.tally.flush() {
            self.write(&Record::Epoch(summary))?;
        }
        let peak_memory_bytes = peak_resident_bytes();
        let before = self.tally.elapsed_before();
        self.write(&Record::End(match end {
            Ok(&Outcome {
                version,
                interrupted,
                ended_by,
                wall,
            }) => EndRecord {
                version,
                interrupted,
                ended_by,
                wall: before + wall,
                peak_memory_bytes,
                error: None,
            },
            Err(error) => EndRecord {
                version: self.version,
                interrupted: false,
                ended_by: None,
                wall: before + self.last_at,
                peak_memory_bytes,
                error: Some(error.to_string()),
            },
        }))?;
        self.flush()?;
        self.check()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
