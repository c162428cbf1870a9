//! Whether the lines of `metrics.jsonl` that a resumed run keeps are those that were there when its snapshot was taken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crc32fast::Hasher;

use crate::checksum::hex;
use crate::error::ReportError;
use crate::metrics::Record;
use crate::metrics_reader::{ReadEnd, keep_lines};
use crate::snapshot::MetricsSeal;

/// Checksums of the lines that are written, for the manifests of snapshots. Clones speak of the same file.
#[derive(Clone, Debug, Default)]
pub struct MetricsSeals(Rc<RefCell<Lines>>);

impl MetricsSeals {
    /// Takes the next line of the file, with its line feed. Lines that no resumed run keeps, the last of a run, are left out.
    /// An epoch has `batches_per_epoch` batches, unless the end of the run cuts it short.
    pub(crate) fn take(&self, record: &Record, line: &[u8], batches_per_epoch: usize) {
        let mut lines = self.0.borrow_mut();
        match record {
            Record::Epoch(epoch) if !epoch.version.is_multiple_of(batches_per_epoch.max(1)) => {
                lines.short_epoch = Some((epoch.version, crc32fast::hash(line)));
            }
            _ => lines.take(record, line),
        }
    }

    /// The seal of what a run keeps that resumes at a version; `None` when lines are missing before it. Versions are asked for
    /// in ascending order.
    pub fn of(&self, version: usize) -> Option<MetricsSeal> {
        self.0.borrow_mut().of(version)
    }
}

#[derive(Debug, Default)]
struct Lines {
    batches: Hasher,
    /// Checksums up to the line before batch `first`, before `first + 1`, and so on.
    before: VecDeque<u32>,
    first: usize,
    epochs: usize,
    epoch_lines: Hasher,
    /// Version and checksum of the last line on an epoch that was cut short.
    short_epoch: Option<(usize, u32)>,
}

impl Lines {
    fn take(&mut self, record: &Record, line: &[u8]) {
        let batch = match record {
            Record::Run(_) => None,
            Record::Batch(batch) => Some(batch.batch),
            Record::Skipped(skipped) => Some(skipped.batch),
            Record::Epoch(_) => {
                self.epochs += 1;
                return self.epoch_lines.update(line);
            }
            Record::End(_) => return,
        };
        // Lines of batches come in order, and a seal is of whole lines only.
        if batch.is_none_or(|batch| batch + 1 == self.first + self.before.len()) {
            self.batches.update(line);
            self.before.push_back(self.batches.clone().finalize());
        }
    }

    fn of(&mut self, version: usize) -> Option<MetricsSeal> {
        let past = version.checked_sub(self.first)?;
        let batches = *self.before.get(past)?;
        self.before.drain(..past);
        self.first = version;
        Some(MetricsSeal {
            batches_crc32: hex(batches),
            epochs: self.epochs,
            epochs_crc32: hex(self.epoch_lines.clone().finalize()),
            short_epoch_crc32: (self.short_epoch.filter(|(short, _)| *short == version))
                .map(|(_, crc32)| hex(crc32)),
        })
    }
}

/// What a metrics file holds, up to the first line that is no record: which snapshots a run can be resumed from.
#[derive(Debug)]
pub struct MetricsCoverage {
    path: PathBuf,
    /// Checksums up to the line before batch 0, before batch 1, and so on.
    before: Vec<u32>,
    /// Checksums of the first lines on epochs: of none, of one, and so on.
    epochs: Vec<u32>,
    /// The version of each of these lines, and its own checksum.
    epoch_lines: Vec<(usize, u32)>,
    end: ReadEnd,
}

impl MetricsCoverage {
    /// Reads a file. One that is missing holds nothing.
    ///
    /// # Errors
    /// [`ReportError::Io`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let mut lines = Lines::default();
        let mut epochs = vec![lines.epoch_lines.clone().finalize()];
        let mut epoch_lines = Vec::new();
        let read = keep_lines(path, |record, line| {
            lines.take(record, line);
            if let Record::Epoch(epoch) = record {
                epochs.push(lines.epoch_lines.clone().finalize());
                epoch_lines.push((epoch.version, crc32fast::hash(line)));
            }
            false
        });
        let end = match read {
            Err(ReportError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                ReadEnd {
                    line: 1,
                    fault: Some("the file is missing".to_owned()),
                }
            }
            read => read?.1,
        };
        Ok(Self {
            path: path.to_owned(),
            before: lines.before.into(),
            epochs,
            epoch_lines,
            end,
        })
    }

    /// Whether the file has, unchanged, what the snapshot of a version says of it. Older snapshots have no seal: then it has to
    /// have all batches.
    ///
    /// # Errors
    /// [`ReportError::Metrics`] when lines are missing, [`ReportError::MetricsChanged`] when some are others.
    pub fn check(&self, version: usize, seal: Option<&MetricsSeal>) -> Result<(), ReportError> {
        let batches = self.before.len().saturating_sub(1);
        let missing = |what| ReportError::Metrics {
            path: self.path.clone(),
            line: self.end.line,
            what: self.end.fault.clone().unwrap_or(what),
        };
        let Some(found) = self.before.get(version) else {
            return Err(missing(format!(
                "{batches} batches before version {version}; {version} were expected"
            )));
        };
        let Some(seal) = seal else {
            return Ok(());
        };
        let Some(epochs) = self.epochs.get(seal.epochs) else {
            let found = self.epochs.len() - 1;
            return Err(missing(format!(
                "{found} epochs before version {version}; {} were expected",
                seal.epochs
            )));
        };
        let is_short_changed = seal.short_epoch_crc32.as_ref().is_some_and(|expected| {
            // A run that has gone on has dropped the line: the next one is of a later version, of which the batches are there.
            let next = self.epoch_lines.get(seal.epochs);
            next.is_some_and(|(of, crc32)| {
                let has_gone_on = *of > version && *of <= batches;
                !has_gone_on && hex(*crc32) != *expected
            })
        });
        if hex(*found) != seal.batches_crc32
            || hex(*epochs) != seal.epochs_crc32
            || is_short_changed
        {
            return Err(ReportError::MetricsChanged {
                path: self.path.clone(),
                version,
            });
        }
        Ok(())
    }
}
