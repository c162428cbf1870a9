//! Sums over the events of each epoch.

mod so_far;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stagger_runtime::{Acted, Event};
use stagger_schedule::Action;

use crate::progress::{EndedEpoch, EpochProgress, StageProgress, TrainedSums};
use crate::stage_tally::{StageTally, bubble_share, percent, rate};
use crate::summary::{EpochSummary, StageSummary};

/// Where a run's epochs end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPlan {
    /// Batches of a full epoch, at least 1.
    pub batches_per_epoch: usize,
    /// Batches of the whole run; if that is no multiple of the former, the last epoch is shorter.
    pub batches: usize,
    /// Versions that are evaluated, in ascending order. An evaluation at the end of an epoch is part of its summary.
    pub evaluate_at: Vec<usize>,
    /// Whether stages only sleep: see [`EpochSummary::emulated`].
    pub emulated: bool,
}

impl EpochPlan {
    /// Number of epochs, counting a shorter last one.
    pub fn epochs(&self) -> usize {
        self.batches.div_ceil(self.per_epoch())
    }

    /// The epoch of a batch, from 0.
    pub fn epoch_of(&self, batch: usize) -> usize {
        batch / self.per_epoch()
    }

    /// Version of the parameters after an epoch counted from 0.
    pub(crate) fn end_of(&self, epoch: usize) -> usize {
        ((epoch + 1) * self.per_epoch()).min(self.batches)
    }

    fn per_epoch(&self) -> usize {
        self.batches_per_epoch.max(1)
    }
}

/// Turns events into one [`EpochSummary`] per epoch.
///
/// Stages end an epoch at different times: one may be in the next epoch while another is still in the last. Memory grows
/// with the number of stages and of epochs that are open at once, not with the batches.
#[derive(Clone, Debug)]
pub struct EpochTally {
    plan: EpochPlan,
    stages: Vec<StageInEpoch>,
    /// Consecutive epochs whose summary is not out yet.
    pending: VecDeque<PendingEpoch>,
    /// Index, from 0, of the first of them.
    first_pending: usize,
    /// The version at which an interrupt ends the run.
    interrupted_at: Option<usize>,
    /// Where the run resumes; `None` when it starts.
    resumed: Option<EpochProgress>,
    /// End of the last action of the last stage.
    last_at: Duration,
    /// By version, the progress at snapshots that not all stages have taken yet; `None` in a tally that does not capture.
    captured: Option<BTreeMap<usize, EpochProgress>>,
    /// The version at the end of the last epoch that was summed up, and its sums; in a tally that captures.
    last_epoch: Option<(usize, PendingEpoch)>,
}

/// The position of a stage and its sums.
#[derive(Clone, Debug, Default)]
struct StageInEpoch {
    tally: StageTally,
    /// Its current epoch, from 0.
    epoch: usize,
    version: usize,
}

#[derive(Clone, Debug, Default)]
struct PendingEpoch {
    /// The sums of each stage that has ended it.
    ended: Vec<Option<StageTally>>,
    trained: TrainedSums,
    test: Option<TestScore>,
    /// The same by the mean of the weights.
    average: Option<TestScore>,
}

#[derive(Clone, Copy, Debug)]
struct TestScore {
    loss: f64,
    top1: f64,
    top5: f64,
}

impl EpochTally {
    /// A tally of a run that starts. [`Event::Started`] tells it the number of stages.
    pub fn new(plan: EpochPlan) -> Self {
        Self {
            plan,
            stages: Vec::new(),
            pending: VecDeque::new(),
            first_pending: 0,
            interrupted_at: None,
            resumed: None,
            last_at: Duration::ZERO,
            captured: None,
            last_epoch: None,
        }
    }

    /// A tally of a run that resumes. It may be longer than it was: an epoch that its end cut short then goes on.
    pub fn resumed(plan: EpochPlan, mut progress: EpochProgress) -> Self {
        let last = progress.version.saturating_sub(1);
        if plan.end_of(plan.epoch_of(last)) != progress.version {
            progress.go_on();
        }
        let first_pending = match progress.ended {
            Some(_) => plan.epoch_of(progress.version.saturating_sub(1)),
            None => plan.epoch_of(progress.version),
        };
        Self {
            first_pending,
            resumed: Some(progress),
            ..Self::new(plan)
        }
    }

    /// Whether the run resumes at a version that is still to be evaluated.
    pub fn resumes_before_evaluation(&self) -> bool {
        let progress = self.resumed.as_ref();
        progress.is_some_and(|progress| progress.ended.is_some())
    }

    /// The version at which the run starts or resumes.
    pub fn start_version(&self) -> usize {
        self.resumed.as_ref().map_or(0, |progress| progress.version)
    }

    /// Time that the run had taken before it was resumed.
    pub fn elapsed_before(&self) -> Duration {
        let progress = self.resumed.as_ref();
        progress.map_or(Duration::ZERO, |progress| progress.elapsed)
    }

    /// The same tally, which also captures its progress at every snapshot; see [`EpochTally::take_progress`].
    #[must_use]
    pub fn capturing(self) -> Self {
        Self {
            captured: Some(BTreeMap::new()),
            ..self
        }
    }

    /// The progress at the snapshot of `version`, once all stages have taken it. Drops the progress of earlier versions.
    pub fn take_progress(&mut self, version: usize) -> Option<EpochProgress> {
        let captured = self.captured.as_mut()?;
        let later = captured.split_off(&(version + 1));
        let progress = captured.remove(&version);
        *captured = later;
        progress
    }

    /// The progress at a snapshot, once its version is evaluated. Of an epoch that the end of the run cuts short it has the sums, in
    /// case the run goes on one day.
    pub fn after_evaluation(&self, mut progress: EpochProgress) -> EpochProgress {
        if progress.version.is_multiple_of(self.plan.per_epoch()) {
            progress.ended = None;
        } else {
            progress.go_on();
        }
        progress
    }

    /// Where the epochs end.
    pub fn plan(&self) -> &EpochPlan {
        &self.plan
    }

    /// Takes the next event. Returns the summary of an epoch once all stages have ended it and its evaluation, if one is
    /// due, is done.
    pub fn event(&mut self, event: &Event) -> Option<EpochSummary> {
        match *event {
            Event::Started { stages } => self.start(stages),
            Event::Acted(acted) => self.acted(acted),
            Event::Trained {
                batch,
                samples,
                loss,
                correct_top1,
                correct_top5,
                learning_rate,
                ..
            } => {
                if let Some(epoch) = self.pending(self.plan.epoch_of(batch)) {
                    let sums = &mut epoch.trained;
                    // They may go on from a snapshot that says any number.
                    sums.batches = sums.batches.saturating_add(1);
                    sums.samples = sums.samples.saturating_add(samples);
                    sums.loss_sum += f64::from(loss) * samples as f64;
                    sums.correct_top1 = sums.correct_top1.saturating_add(correct_top1);
                    sums.correct_top5 = sums.correct_top5.saturating_add(correct_top5);
                    sums.learning_rate = learning_rate;
                }
            }
            Event::Evaluated {
                version,
                samples,
                loss,
                correct_top1,
                correct_top5,
                ..
            } => {
                if let Some(epoch) = self.ending_at(version) {
                    let top1 = percent(correct_top1, samples);
                    let top5 = percent(correct_top5, samples);
                    epoch.test = Some(TestScore { loss, top1, top5 });
                }
            }
            Event::EvaluatedAverage {
                version,
                samples,
                loss,
                correct_top1,
                correct_top5,
            } => {
                if let Some(epoch) = self.ending_at(version) {
                    let top1 = percent(correct_top1, samples);
                    let top5 = percent(correct_top5, samples);
                    epoch.average = Some(TestScore { loss, top1, top5 });
                }
            }
            Event::Snapshot { stage, version, .. } => self.capture(stage, version),
            Event::Interrupted { batch } => self.interrupted_at = Some(batch),
            _ => {}
        }
        self.is_ready().then(|| self.sum_up())
    }

    /// The summaries that are left after the last event: of the epoch that an interrupt or a failure cut short, and of full
    /// epochs without the evaluation that was due. Epochs without a trained batch are left out.
    pub fn flush(&mut self) -> Vec<EpochSummary> {
        let mut summaries = Vec::new();
        while let Some(epoch) = self.pending.front_mut() {
            for (ended, stage) in epoch.ended.iter_mut().zip(&mut self.stages) {
                if ended.is_none() && stage.epoch == self.first_pending {
                    *ended = Some(stage.tally.cut());
                    stage.epoch += 1;
                }
            }
            // A go that has trained on nothing has nothing to say of the epoch that it went on with.
            let resumed = self.resumed.as_ref().filter(|from| {
                from.ended.is_none() && self.plan.epoch_of(from.version) == self.first_pending
            });
            let before = resumed.map_or(0, |from| from.trained.batches);
            if epoch.trained.batches > before {
                summaries.push(self.sum_up());
            } else {
                self.pending.pop_front();
                self.first_pending += 1;
            }
        }
        summaries
    }

    fn start(&mut self, stages: usize) {
        self.stages = vec![StageInEpoch::default(); stages];
        let Some(progress) = self.resumed.clone() else {
            return;
        };
        let epoch = match &progress.ended {
            Some(ended) => {
                let epoch = self.first_pending;
                let of_stages = (ended.stages.iter()).map(StageTally::resumed).map(Some);
                self.pending.push_back(PendingEpoch {
                    ended: of_stages.collect(),
                    trained: ended.trained,
                    test: None,
                    average: None,
                });
                epoch + 1
            }
            None => self.plan.epoch_of(progress.version),
        };
        for (of_stage, so_far) in self.stages.iter_mut().zip(&progress.stages) {
            *of_stage = StageInEpoch {
                tally: StageTally::resumed(so_far),
                epoch,
                version: progress.version,
            };
        }
        if progress.trained.batches > 0
            && self.plan.end_of(epoch) > progress.version
            && let Some(pending) = self.pending(epoch)
        {
            pending.trained = progress.trained;
        }
    }

    /// Captures the sums of a stage at a version, and with the last stage those of the trained batches. The other stages may
    /// be at other versions at this time.
    fn capture(&mut self, stage: usize, version: usize) {
        let (Some(of_stage), true) = (self.stages.get(stage), self.captured.is_some()) else {
            return;
        };
        let mut so_far = of_stage.tally.progress();
        let short = self.cut_short_at(version);
        // The stage itself has ended it; others may not have yet.
        if let Some(Some(tally)) = short.and_then(|epoch| epoch.ended.get(stage)) {
            so_far = tally.progress();
        }
        let trained_short = short.map(|epoch| epoch.trained);
        let stages = self.stages.len();
        let captured = self.captured.as_mut();
        let captured = captured.and_then(|captured| captured.remove(&version));
        let mut progress = captured.unwrap_or_else(|| EpochProgress {
            version,
            stages: vec![StageProgress::default(); stages],
            ..EpochProgress::default()
        });
        progress.stages[stage] = so_far;
        let is_last = stage + 1 == stages;
        if is_last {
            progress.elapsed = self.elapsed_before() + self.last_at;
        }
        if let Some(pending) = self.ends_unevaluated_at(version) {
            let ended = progress.ended.get_or_insert_with(|| EndedEpoch {
                stages: vec![StageProgress::default(); stages],
                ..EndedEpoch::default()
            });
            if let Some(tally) = pending.ended.get(stage).and_then(Option::as_ref) {
                ended.stages[stage] = tally.progress();
            }
            if is_last {
                ended.trained = pending.trained;
            }
        } else if let Some(trained) = trained_short.filter(|_| is_last) {
            progress.trained = trained;
        } else if is_last {
            let at = self.plan.epoch_of(version).checked_sub(self.first_pending);
            if let Some(pending) = at.and_then(|at| self.pending.get(at)) {
                progress.trained = pending.trained;
            }
        }
        if let Some(captured) = &mut self.captured {
            captured.insert(version, progress);
        }
    }

    /// The epoch that the end of the run cuts short at a version, whether it is summed up already or not.
    fn cut_short_at(&self, version: usize) -> Option<&PendingEpoch> {
        let epoch = self.plan.epoch_of(version);
        if version.is_multiple_of(self.plan.per_epoch()) || self.plan.end_of(epoch) != version {
            return None;
        }
        match &self.last_epoch {
            Some((ended_at, sums)) if *ended_at == version => Some(sums),
            _ => self.pending.get(epoch.checked_sub(self.first_pending)?),
        }
    }

    /// The epoch that ends at a version, where its evaluation is due and has not come yet.
    fn ends_unevaluated_at(&self, version: usize) -> Option<&PendingEpoch> {
        let epoch = self.plan.epoch_of(version.checked_sub(1)?);
        let is_due = self.plan.evaluate_at.binary_search(&version).is_ok();
        let at = epoch.checked_sub(self.first_pending)?;
        let ends = is_due && self.plan.end_of(epoch) == version;
        (self.pending.get(at)).filter(|pending| ends && pending.test.is_none())
    }

    fn acted(&mut self, acted: Acted) {
        let stage = acted.stage;
        if stage + 1 == self.stages.len() {
            self.last_at = acted.ended_at;
        }
        let Some(of_stage) = self.stages.get_mut(stage) else {
            return;
        };
        of_stage.tally.add(acted);
        let Action::Update { version } = acted.action else {
            return;
        };
        of_stage.version = version + 1;
        if of_stage.version != self.plan.end_of(of_stage.epoch) {
            return;
        }
        let (epoch, tally) = (of_stage.epoch, of_stage.tally.cut());
        of_stage.epoch += 1;
        if let Some(ended) = self
            .pending(epoch)
            .and_then(|epoch| epoch.ended.get_mut(stage))
        {
            *ended = Some(tally);
        }
    }

    /// The epoch that ends at this version, by plan or as the run ends there.
    fn ending_at(&mut self, version: usize) -> Option<&mut PendingEpoch> {
        let epoch = self.plan.epoch_of(version.saturating_sub(1));
        let end_of_the_run = self.interrupted_at == Some(version);
        let ends = version > 0 && (end_of_the_run || self.plan.end_of(epoch) == version);
        self.pending(epoch).filter(|_| ends)
    }

    /// The sums of an epoch counted from 0; `None` when its summary is out already.
    fn pending(&mut self, epoch: usize) -> Option<&mut PendingEpoch> {
        let at = epoch.checked_sub(self.first_pending)?;
        while self.pending.len() <= at {
            let ended = vec![None; self.stages.len()];
            self.pending.push_back(PendingEpoch {
                ended,
                ..PendingEpoch::default()
            });
        }
        self.pending.get_mut(at)
    }

    /// Whether the first pending epoch is complete.
    fn is_ready(&self) -> bool {
        let due = self.plan.end_of(self.first_pending);
        self.pending.front().is_some_and(|epoch| {
            epoch.ended.iter().all(Option::is_some)
                && (epoch.test.is_some() || self.plan.evaluate_at.binary_search(&due).is_err())
        })
    }

    /// Takes out the first pending epoch.
    fn sum_up(&mut self) -> EpochSummary {
        let PendingEpoch {
            ended,
            trained: sums,
            test,
            average,
        } = {
            let ended = self.pending.pop_front().unwrap_or_default();
            let ended_at = self.plan.end_of(self.first_pending);
            self.last_epoch = self.captured.is_some().then(|| (ended_at, ended.clone()));
            ended
        };
        let epoch = self.first_pending;
        self.first_pending += 1;

        let last = ended.last().and_then(Option::as_ref);
        let wall = last.map(StageTally::wall).unwrap_or_default();
        let trained = self.stages.last().map_or(0, |last| last.version);
        let stages: Vec<StageSummary> = ended
            .into_iter()
            .map(|stage| stage.unwrap_or_default().summary())
            .collect();
        EpochSummary {
            epoch: epoch + 1,
            epochs: self.plan.epochs(),
            version: self.plan.end_of(epoch).min(trained),
            batches: sums.batches,
            train_loss: sums.loss_sum / sums.samples.max(1) as f64,
            train_top1: percent(sums.correct_top1, sums.samples),
            train_top5: percent(sums.correct_top5, sums.samples),
            learning_rate: sums.learning_rate,
            test_loss: test.map(|test| test.loss),
            test_top1: test.map(|test| test.top1),
            test_top5: test.map(|test| test.top5),
            average_loss: average.map(|average| average.loss),
            average_top1: average.map(|average| average.top1),
            images_per_second: rate(sums.samples, wall),
            wall,
            bubble_share: bubble_share(&stages),
            stages,
            emulated: self.plan.emulated,
        }
    }
}
