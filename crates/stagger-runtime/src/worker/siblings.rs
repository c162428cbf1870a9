//! What the replicas of a stage do together: before every update they add their gradients up, and before an evaluation or a
//! snapshot they average their running statistics. Where they normalise batches together, their running statistics are the same,
//! and what they have to agree on is which micro-batches are void: a pass of one replica is a pass of all.

use std::time::Duration;

use stagger_engine::{EngineError, HostTensor, Stage};
use stagger_transport::Mark;

use super::Worker;
use super::kept::BatchInWork;
use super::micro_batch::BatchScore;
use super::ring::StageRing;
use super::times::Times;
use crate::event::Event;
use crate::fault::Fault;
use crate::plan::OnNonFinite;
use stagger_schedule::Place;

/// The other replicas of a stage, as one of them sees them.
pub(super) struct Siblings<T> {
    pub ring: StageRing<T>,
    place: Place,
    /// Whether they normalise batches together.
    normalize_together: bool,
    /// What stage 0 has announced and no replica has told the others.
    pub announced: Vec<Mark>,
    /// Of the batch in work, where this is the last stage.
    pub score: Option<BatchScore>,
}

/// What replicas tell each other of a batch besides gradients: numbers that are added up with them. Counts are exact
/// up to 2²⁴.
#[derive(Default)]
struct Tail {
    void: f32,
    snapshot: f32,
    halt: f32,
    samples: f32,
    loss_sum: f32,
    correct_top1: f32,
    correct_top5: f32,
}

impl Tail {
    fn to_tensor(&self) -> Result<HostTensor, EngineError> {
        let values = vec![
            self.void,
            self.snapshot,
            self.halt,
            self.samples,
            self.loss_sum,
            self.correct_top1,
            self.correct_top5,
        ];
        HostTensor::new(vec![values.len()], values)
    }

    fn of(tensor: &HostTensor) -> Self {
        let at = |index: usize| tensor.data.get(index).copied().unwrap_or_default();
        Self {
            void: at(0),
            snapshot: at(1),
            halt: at(2),
            samples: at(3),
            loss_sum: at(4),
            correct_top1: at(5),
            correct_top5: at(6),
        }
    }
}

impl<T> Siblings<T> {
    pub fn new(ring: StageRing<T>, place: Place, normalize_together: bool) -> Self {
        Self {
            ring,
            place,
            normalize_together,
            announced: Vec::new(),
            score: None,
        }
    }
}

impl<S: Stage> Worker<S> {
    /// Adds the gradients of a batch up over the replicas, and tells them what one of them knows: that the batch is void, and
    /// that there is a snapshot or a halt at the next version. Gives the latter to a replica that did not know it.
    pub(super) fn unite(
        &mut self,
        version: usize,
        batch: &mut BatchInWork<S>,
        times: &mut Times,
    ) -> Result<Option<Mark>, Fault> {
        let Some(siblings) = self.siblings.as_mut() else {
            return Ok(None);
        };
        let mut sums = self.stage.export_gradients()?;
        if batch.is_void {
            // What has added up of other micro-batches does not count.
            for gradient in &mut sums {
                gradient.data.fill(0.0);
            }
        }
        let mark = siblings.announced.iter();
        let mark = mark.copied().find(|mark| mark.version == version + 1);
        siblings.announced.retain(|mark| mark.version > version + 1);
        let score = siblings.score.take().unwrap_or_default();
        let flag = |is: bool| f32::from(u8::from(is));
        let count = |count: usize| count as f32;
        let tail = Tail {
            void: flag(batch.is_void),
            snapshot: flag(mark.is_some()),
            halt: flag(mark.is_some_and(|mark| mark.halts)),
            samples: count(score.samples),
            loss_sum: score.loss_sum() as f32,
            correct_top1: count(score.correct_top1),
            correct_top5: count(score.correct_top5),
        };
        sums.push(tail.to_tensor()?);
        siblings.ring.sum(&mut sums, version, times)?;
        let is_first = siblings.place.is_first();
        let tail = Tail::of(&sums.pop().unwrap_or_default());
        batch.is_void = tail.void > 0.0;
        if !batch.is_void {
            self.stage.import_gradients(sums)?;
        }
        if self.labels.is_some() {
            self.report(version, &tail);
        }
        let told = (tail.snapshot > 0.0 && !is_first).then_some(Mark {
            version: version + 1,
            halts: tail.halt > 0.0,
        });
        Ok(told)
    }

    /// Tells of a batch that all replicas of the last stage have computed the loss of.
    fn report(&mut self, batch: usize, tail: &Tail) {
        let at = self.clock.elapsed();
        if tail.void > 0.0 {
            self.skipped_in_a_row += 1;
            let loss = match tail.loss_sum {
                sum if sum.is_finite() => f32::NAN,
                sum => sum,
            };
            return self.emit(Event::Skipped { batch, loss, at });
        }
        self.skipped_in_a_row = 0;
        self.emit(Event::Trained {
            batch,
            samples: tail.samples as usize,
            loss: tail.loss_sum / tail.samples,
            correct_top1: tail.correct_top1 as usize,
            correct_top5: tail.correct_top5 as usize,
            learning_rate: self.rate.common(batch),
            at,
        });
    }

    /// Runs `work` at the mean of the replicas' running statistics, which then are put back. Gives those of this replica. Replicas
    /// that normalise together have the same, and take no mean: it would round.
    pub(super) fn at_mean_statistics<R>(
        &mut self,
        version: usize,
        times: &mut Times,
        work: impl FnOnce(&mut Self, &mut Times) -> Result<R, Fault>,
    ) -> Result<(R, Option<Vec<HostTensor>>), Fault> {
        let Some(siblings) = self.siblings.as_mut() else {
            return Ok((work(self, times)?, None));
        };
        let before = self.stage.statistics();
        let own = self.stage.export_statistics(&before)?;
        if siblings.normalize_together {
            return Ok((work(self, times)?, Some(own)));
        }
        let mut mean = own.clone();
        let of = siblings.place.of as f32;
        siblings.ring.sum(&mut mean, version, times)?;
        for value in mean.iter_mut().flat_map(|tensor| &mut tensor.data) {
            *value /= of;
        }
        let mean = self.stage.import_statistics(mean)?;
        self.stage.restore_statistics(mean);
        let result = work(self, times);
        self.stage.restore_statistics(before);
        Ok((result?, Some(own)))
    }

    /// Whether the loss of a micro-batch is finite on all replicas, where a pass of one has to be a pass of all: then either all
    /// of them pull the micro-batch back, or none.
    pub(super) fn agree_on_loss(
        &mut self,
        is_finite: bool,
        times: &mut Times,
    ) -> Result<bool, Fault> {
        let skips = self.on_non_finite == OnNonFinite::Skip;
        let siblings = self.siblings.as_ref();
        let Some(siblings) = siblings.filter(|siblings| siblings.normalize_together && skips)
        else {
            return Ok(is_finite);
        };
        let own = vec![f32::from(u8::from(is_finite))];
        let all = siblings.ring.gather(own, times)?;
        Ok(all.iter().flatten().all(|&is_finite| is_finite == 1.0))
    }

    /// Runs passes of the stage, which may exchange values with the other replicas meanwhile. Gives with their result how long
    /// they waited for these.
    pub(super) fn pass<R>(
        &mut self,
        times: &mut Times,
        work: impl FnOnce(&mut S) -> Result<R, EngineError>,
    ) -> Result<(R, Duration), Fault> {
        let result = work(&mut self.stage);
        let Some(siblings) = &self.siblings else {
            return Ok((result?, Duration::ZERO));
        };
        let (waits, fault) = siblings.ring.settle();
        times.waits.add(waits);
        match fault {
            Some(fault) => Err(fault),
            None => Ok((result?, waits.total())),
        }
    }
}
