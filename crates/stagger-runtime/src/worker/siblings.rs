//! What the replicas of a stage do together: before every update they add their gradients up, and before an evaluation or a
//! snapshot they average their running statistics.
//!
//! A sum goes around the ring of the replicas twice: once each replica adds its values to a part and passes it on, and once the
//! finished parts are passed on. Every part is added up in the order of the ring, so the bits do not depend on timing, nor on what
//! the ring is made of; and all replicas get the same bits.

use std::ops::Range;

use stagger_engine::{HostTensor, Stage};
use stagger_transport::{Content, Header, Lane, Mark, Message};

use super::Worker;
use super::kept::BatchInWork;
use super::micro_batch::BatchScore;
use super::times::Times;
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::event::Event;
use crate::fault::Fault;
use crate::ports::Ring;
use crate::replicas::Place;

/// The ring of a stage, as one replica sees it.
pub(super) struct Siblings<T> {
    ring: Ring<Cargo<T>>,
    place: Place,
    line: Line,
    /// What stage 0 has announced and no replica has told the others.
    pub announced: Vec<Mark>,
    /// Of the batch in work, where this is the last stage.
    pub score: Option<BatchScore>,
}

/// What replicas tell each other of a batch besides gradients: numbers that are added up with them. Counts are exact in 32 bits.
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

const TAIL: usize = 7;

impl Tail {
    fn write(&self, to: &mut Vec<f32>) {
        to.extend([
            self.void,
            self.snapshot,
            self.halt,
            self.samples,
            self.loss_sum,
            self.correct_top1,
            self.correct_top5,
        ]);
    }

    fn read(from: &[f32]) -> Self {
        let at = |index: usize| from.get(index).copied().unwrap_or_default();
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
    pub fn new(ring: Ring<Cargo<T>>, place: Place, line: Line) -> Self {
        Self {
            ring,
            place,
            line,
            announced: Vec::new(),
            score: None,
        }
    }

    /// Replaces `values` by their sum over all replicas. All have as many values, and call this in the same order.
    fn sum(&mut self, values: &mut [f32], header: Header, times: &mut Times) -> Result<(), Fault> {
        if values.is_empty() {
            return Ok(());
        }
        let (own, of) = (self.place.replica, self.place.of);
        let part = |number: usize| {
            let number = number % of;
            number * values.len() / of..(number + 1) * values.len() / of
        };
        let parts: Vec<Range<usize>> = (0..of).map(part).collect();
        let part = |number: usize| parts[number % of].clone();
        for step in 0..of - 1 {
            let (gives, takes) = (part(own + of - step), part(own + 2 * of - step - 1));
            let header = Header {
                micro: step,
                ..header
            };
            let received = self.exchange(&values[gives], takes.len(), header, times)?;
            for (value, received) in values[takes].iter_mut().zip(received) {
                *value += received;
            }
        }
        for step in 0..of - 1 {
            let (gives, takes) = (part(own + 1 + of - step), part(own + of - step));
            let header = Header {
                micro: of - 1 + step,
                ..header
            };
            let received = self.exchange(&values[gives], takes.len(), header, times)?;
            values[takes].copy_from_slice(&received);
        }
        Ok(())
    }

    /// Passes values on to the next replica, and takes as many as `takes` from the one before.
    fn exchange(
        &mut self,
        gives: &[f32],
        takes: usize,
        header: Header,
        times: &mut Times,
    ) -> Result<Vec<f32>, Fault> {
        let tensor = HostTensor::new(vec![gives.len()], gives.to_vec())?;
        let message = Message {
            header,
            content: Content::Payload(Cargo::Host(tensor)),
        };
        let Ring { next, previous } = &mut self.ring;
        let waits_for = WaitsFor::Replicas;
        self.line
            .waits(waits_for, &mut times.waits.send, || next.send(message))?;
        let account = &mut times.waits.receive;
        let message = self
            .line
            .waits(waits_for, account, || previous.receive(header.lane))?;
        let (expected, found) = (header, message.header);
        if (expected.batch, expected.micro) != (found.batch, found.micro) {
            return Err(Fault::OutOfOrder {
                lane: header.lane,
                expected: expected.batch,
                found: found.batch,
            });
        }
        match message.content {
            Content::Payload(Cargo::Host(tensor)) if tensor.data.len() == takes => Ok(tensor.data),
            _ => Err(Fault::Program {
                what: "a sum over replicas of which one has other values",
            }),
        }
    }
}

/// The values of tensors, one behind the other, with room for `more`.
fn flattened(tensors: &[HostTensor], more: usize) -> Vec<f32> {
    let len = tensors
        .iter()
        .map(|tensor| tensor.data.len())
        .sum::<usize>();
    let mut values = Vec::with_capacity(len + more);
    for tensor in tensors {
        values.extend_from_slice(&tensor.data);
    }
    values
}

/// Puts values back into the tensors that they come from.
fn fill(tensors: &mut [HostTensor], mut values: &[f32]) {
    for tensor in tensors {
        let (own, rest) = values.split_at(tensor.data.len());
        tensor.data.copy_from_slice(own);
        values = rest;
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
        let header = self.ring_header(version);
        let Some(siblings) = self.siblings.as_mut() else {
            return Ok(None);
        };
        let mut gradients = self.stage.export_gradients()?;
        let mut values = flattened(&gradients, TAIL);
        if batch.is_void {
            // What has added up of other micro-batches does not count.
            values.fill(0.0);
        }
        let mark = siblings.announced.iter();
        let mark = mark.copied().find(|mark| mark.version == version + 1);
        siblings.announced.retain(|mark| mark.version > version + 1);
        let score = siblings.score.take().unwrap_or_default();
        let flag = |is: bool| f32::from(u8::from(is));
        let count = |count: usize| count as f32;
        Tail {
            void: flag(batch.is_void),
            snapshot: flag(mark.is_some()),
            halt: flag(mark.is_some_and(|mark| mark.halts)),
            samples: count(score.samples),
            loss_sum: score.loss_sum() as f32,
            correct_top1: count(score.correct_top1),
            correct_top5: count(score.correct_top5),
        }
        .write(&mut values);
        siblings.sum(&mut values, header, times)?;
        let is_first = siblings.place.is_first();
        let (sums, tail) = values.split_at(values.len() - TAIL);
        let tail = Tail::read(tail);
        batch.is_void = tail.void > 0.0;
        if !batch.is_void {
            fill(&mut gradients, sums);
            self.stage.import_gradients(gradients)?;
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

    /// Runs `work` at the mean of the replicas' running statistics, which then are put back. Gives those of this replica.
    pub(super) fn at_mean_statistics<R>(
        &mut self,
        version: usize,
        times: &mut Times,
        work: impl FnOnce(&mut Self, &mut Times) -> Result<R, Fault>,
    ) -> Result<(R, Option<Vec<HostTensor>>), Fault> {
        let header = self.ring_header(version);
        let Some(siblings) = self.siblings.as_mut() else {
            return Ok((work(self, times)?, None));
        };
        let before = self.stage.statistics();
        let own = self.stage.export_statistics(&before)?;
        let mut mean = own.clone();
        let mut values = flattened(&mean, 0);
        let of = siblings.place.of as f32;
        siblings.sum(&mut values, header, times)?;
        for value in &mut values {
            *value /= of;
        }
        fill(&mut mean, &values);
        let mean = self.stage.import_statistics(mean)?;
        self.stage.restore_statistics(mean);
        let result = work(self, times);
        self.stage.restore_statistics(before);
        Ok((result?, Some(own)))
    }

    fn ring_header(&self, version: usize) -> Header {
        Header {
            lane: Lane::Activation,
            batch: version,
            micro: 0,
            version: self.version,
            sent_at: self.clock.elapsed(),
            mark: None,
        }
    }
}
