//! A sink whose files TensorBoard reads.

mod encoding;
mod histogram;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use stagger_engine::{HostTensor, StageState};
use stagger_runtime::{Event, Outcome, RunError};

use self::encoding::{FILE_VERSION, Message, Scalar, record};
use self::histogram::Histogram;
use crate::disk_watch;
use crate::epoch::EpochTally;
use crate::error::ReportError;
use crate::new_place::{check_folder_of, is_same_place, refuse_own_name, try_file, try_folder};
use crate::sink::Sink;
use crate::summary::EpochSummary;

/// Up to here every batch is a point.
const SINGLE_POINTS: usize = 10_000;
/// What waits in memory is written after so long.
const WRITTEN_EVERY: Duration = Duration::from_secs(2);

/// Writes scalars to an event file in a folder, which TensorBoard shows as one run: loss, accuracy and learning rate over the batches;
/// test scores, images per second, bubble, and busy share, staleness and gap of every stage over the epochs. The step of a batch is its
/// number from 0, that of an epoch the number of its last batch. At the end of every epoch there is a histogram of each parameter, and of
/// the gradient of its last batch where that is told ([`Plan::gradients_at`](stagger_runtime::Plan::gradients_at)): of the finite values,
/// in 64 bins.
///
/// From batch 10,000 on a point is the mean of two neighbouring batches, from 20,000 on of four, and so on. Where the folder has event files
/// already, as after a resume or a rollback, another one begins, and tells TensorBoard that it replaces what they have from its first step
/// on. What a snapshot covers is in the file before it. An epoch that the end of the run cuts short has the step behind its last batch, so
/// that it is replaced if the run becomes longer.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    file: Option<(PathBuf, File)>,
    tally: EpochTally,
    means: Means,
    /// What is not written yet.
    waiting: Vec<u8>,
    written_at: Duration,
}

/// Sums over the batches of a point.
#[derive(Debug, Default)]
struct Means {
    last_batch: usize,
    samples: usize,
    loss: f64,
    correct: usize,
    learning_rate: f64,
}

impl TensorBoard {
    /// A sink that writes into `folder`, beside other event files that may be there; see [`TensorBoard::check`]. `tally` is that of the
    /// run.
    #[must_use]
    pub fn new(folder: &Path, tally: EpochTally) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            tally,
            means: Means::default(),
            waiting: Vec::new(),
            written_at: Duration::ZERO,
        }
    }

    /// Checks, before there is anything to write, that `folder` is one, or that it can be made in one: also in that of the run, which
    /// the run may have to make.
    ///
    /// # Errors
    /// [`ReportError::Occupied`] when it is a file, [`ReportError::NoFolder`] when the folder that it would be in is missing,
    /// [`ReportError::OwnName`] for what a run writes itself, and [`ReportError::Io`] when nothing can be made there.
    pub fn check(folder: &Path, run: Option<&Path>) -> Result<(), ReportError> {
        refuse_own_name(folder, run)?;
        if folder.is_dir() {
            return try_file(&folder.join("events"));
        }
        if folder.symlink_metadata().is_ok() {
            return Err(ReportError::Occupied {
                path: folder.to_owned(),
                what: "a file already",
            });
        }
        check_folder_of(folder, run)?;
        // The run makes its folder itself.
        match run.is_some_and(|run| is_same_place(run, folder)) {
            true => Ok(()),
            false => try_folder(folder),
        }
    }

    /// Creates the file. It replaces everything from the step on at which the run starts.
    fn open(&mut self) -> Result<(), ReportError> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made.map_err(|source| ReportError::io("create the folder", &self.folder, source))?
            }
        }
        let is_first = !self.has_event_files()?;
        let now = now();
        // Files are read in the order of their names.
        let name = format!(
            "events.out.tfevents.{:010}.{:09}.stagger",
            now.as_secs(),
            now.subsec_nanos()
        );
        let path = self.folder.join(name);
        let file = disk_watch::during("create", &path, || File::create_new(&path))
            .map_err(|source| ReportError::io("create", &path, source))?;
        self.file = Some((path, file));
        self.add(0, Message::FileVersion(FILE_VERSION));
        if !is_first {
            self.add(self.tally.start_version(), Message::Restart);
        }
        self.write()
    }

    fn has_event_files(&self) -> Result<bool, ReportError> {
        let unreadable = |source| ReportError::io("read the folder", &self.folder, source);
        for entry in fs::read_dir(&self.folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if name.to_string_lossy().contains("tfevents") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, step: usize, message: Message<'_>) {
        let event = encoding::event(now().as_secs_f64(), step, message);
        self.waiting.extend(record(&event));
    }

    fn scalar(&mut self, step: usize, tag: &str, value: f64) {
        let value = value as f32;
        self.add(step, Message::Scalar(Scalar { tag, value }));
    }

    fn trained(
        &mut self,
        batch: usize,
        [samples, correct]: [usize; 2],
        loss: f32,
        learning_rate: f64,
    ) {
        let means = &mut self.means;
        means.last_batch = batch;
        means.samples = means.samples.saturating_add(samples);
        means.loss += f64::from(loss) * samples as f64;
        means.correct = means.correct.saturating_add(correct);
        means.learning_rate = learning_rate;
        // At the same batches whether the run is resumed or not.
        if (batch + 1).is_multiple_of(group(batch)) {
            self.point();
        }
    }

    /// Adds a point for the batches since the last one, if there are any.
    fn point(&mut self) {
        let means = std::mem::take(&mut self.means);
        if means.samples == 0 || self.tally.plan().emulated {
            return;
        }
        let (batch, samples) = (means.last_batch, means.samples as f64);
        self.scalar(batch, "loss/train", means.loss / samples);
        self.scalar(
            batch,
            "accuracy/train",
            100.0 * means.correct as f64 / samples,
        );
        self.scalar(batch, "learning_rate", means.learning_rate);
    }

    fn epoch(&mut self, epoch: &EpochSummary, step: usize) {
        let learned = [
            ("loss/test", epoch.test_loss),
            ("accuracy/test", epoch.test_top1),
            ("loss/average", epoch.average_loss),
            ("accuracy/average", epoch.average_top1),
        ];
        for (tag, value) in learned {
            if let Some(value) = value.filter(|_| !epoch.emulated) {
                self.scalar(step, tag, value);
            }
        }
        self.scalar(step, "images_per_second", epoch.images_per_second);
        self.scalar(step, "bubble", epoch.bubble_share);
        for (number, stage) in epoch.stages.iter().enumerate() {
            self.scalar(step, &format!("busy/stage_{number}"), stage.busy_share);
            self.scalar(
                step,
                &format!("staleness/stage_{number}"),
                stage.staleness_mean,
            );
            if let Some(gap) = stage.gap_mean {
                self.scalar(step, &format!("gap/stage_{number}"), gap);
            }
        }
    }

    /// Histograms of the parameters of a stage, where an epoch ends at this version.
    fn weights(&mut self, version: usize, state: &StageState) {
        let plan = self.tally.plan();
        let last = version.saturating_sub(1);
        if version == 0 || plan.end_of(plan.epoch_of(last)) != version || plan.emulated {
            return;
        }
        for (name, values) in state.parameters() {
            self.histogram(last, "weights", name, values);
        }
    }

    fn histogram(&mut self, step: usize, kind: &str, name: &str, values: &HostTensor) {
        if let Some(histogram) = Histogram::of(&values.data) {
            let tag = format!("{kind}/{name}");
            self.add(step, Message::Histogram(&tag, &histogram));
        }
    }

    fn write(&mut self) -> Result<(), ReportError> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        let bytes = std::mem::take(&mut self.waiting);
        disk_watch::during("write", path, || file.write_all(&bytes))
            .map_err(|source| ReportError::io("write", path, source))
    }
}

impl Sink for TensorBoard {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if self.file.is_none() {
            self.open()?;
        }
        let mut is_due = matches!(event, Event::Snapshot { .. });
        match event {
            Event::Gradients {
                batch, gradients, ..
            } => {
                for (name, values) in gradients {
                    self.histogram(*batch, "gradients", name, values);
                }
            }
            Event::Snapshot {
                version, snapshot, ..
            } => self.weights(*version, &snapshot.state),
            _ => {}
        }
        if let Event::Trained {
            batch,
            samples,
            loss,
            correct_top1,
            learning_rate,
            at,
            ..
        } = *event
        {
            self.trained(batch, [samples, correct_top1], loss, learning_rate);
            is_due |= at >= self.written_at + WRITTEN_EVERY;
            if is_due {
                self.written_at = at;
            }
        }
        if let Some(epoch) = self.tally.event(event) {
            // One that the end of the run cuts short is replaced if the run becomes longer: its step is the first of those.
            let per_epoch = self.tally.plan().batches_per_epoch.max(1);
            let is_short = !epoch.version.is_multiple_of(per_epoch);
            let step = epoch.version.saturating_sub(usize::from(!is_short));
            self.epoch(&epoch, step);
            is_due = true;
        }
        match is_due {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn finish(&mut self, end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        if self.file.is_none() {
            return Ok(());
        }
        self.point();
        let cut_short = self.tally.flush();
        // One that is interrupted or fails will be whole once the run is resumed.
        if end.is_ok_and(|outcome| !outcome.interrupted) {
            for epoch in cut_short {
                self.epoch(&epoch, epoch.version);
            }
        }
        self.write()
    }
}

/// How many batches are a point at this one.
fn group(batch: usize) -> usize {
    ((batch + 1).div_ceil(SINGLE_POINTS)).next_power_of_two()
}

fn now() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

#[cfg(test)]
mod tests;
