//! What the replicas of a stage do together: before every update they add their gradients up, and before an evaluation or a
//! snapshot they average their running statistics.
//!
//! A sum goes around the ring of the replicas twice: once each replica adds its values to a part and passes it on, and once the
//! finished parts are passed on. Every part is added up in the order of the ring, so the bits do not depend on timing, nor on what
//! the ring is made of; and all replicas get the same bits.

use stagger_engine::{EngineError, HostTensor, Stage};
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
    pub fn new(ring: Ring<Cargo<T>>, place: Place, line: Line) -> Self {
        Self {
            ring,
            place,
            line,
            announced: Vec::new(),
            score: None,
        }
    }

    /// Replaces values by their sum over all replicas. All have as many tensors of the same shapes, and call this in the same
    /// order. Every tensor is cut into as many parts as there are replicas, so that the order in which a value is added up depends
    /// on its place in its tensor, and not on what else the stage has.
    fn sum(
        &mut self,
        tensors: &mut [HostTensor],
        header: Header,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let (own, of) = (self.place.replica, self.place.of);
        let slice = |part: usize, len: usize| part * len / of..(part + 1) * len / of;
        let mut parts: Vec<Vec<f32>> = Vec::with_capacity(of);
        for part in 0..of {
            let mut values = Vec::new();
            for HostTensor { data, .. } in tensors.iter() {
                values.extend_from_slice(&data[slice(part, data.len())]);
            }
            parts.push(values);
        }
        if parts.iter().all(Vec::is_empty) {
            return Ok(());
        }
        self.sum_parts(&mut parts, (own, of), header, times)?;
        for (part, values) in parts.iter().enumerate() {
            let mut values = values.as_slice();
            for HostTensor { data, .. } in tensors.iter_mut() {
                let place = slice(part, data.len());
                let (here, rest) = values.split_at(place.len());
                data[place].copy_from_slice(here);
                values = rest;
            }
        }
        Ok(())
    }

    /// Sends every part around the ring twice.
    fn sum_parts(
        &mut self,
        parts: &mut [Vec<f32>],
        (own, of): (usize, usize),
        header: Header,
        times: &mut Times,
    ) -> Result<(), Fault> {
        for step in 0..of - 1 {
            let (gives, takes) = ((own + of - step) % of, (own + 2 * of - step - 1) % of);
            let header = Header {
                micro: step,
                ..header
            };
            let (gives, expected) = (parts[gives].clone(), parts[takes].len());
            let received = self.exchange(gives, expected, header, times)?;
            for (value, received) in parts[takes].iter_mut().zip(received) {
                *value += received;
            }
        }
        for step in 0..of - 1 {
            let (gives, takes) = ((own + 1 + of - step) % of, (own + of - step) % of);
            let header = Header {
                micro: of - 1 + step,
                ..header
            };
            let (gives, expected) = (parts[gives].clone(), parts[takes].len());
            parts[takes] = self.exchange(gives, expected, header, times)?;
        }
        Ok(())
    }

    /// Passes values on to the next replica, and takes as many as `takes` from the one before.
    fn exchange(
        &mut self,
        gives: Vec<f32>,
        takes: usize,
        header: Header,
        times: &mut Times,
    ) -> Result<Vec<f32>, Fault> {
        let tensor = HostTensor::new(vec![gives.len()], gives)?;
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
        siblings.sum(&mut sums, header, times)?;
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
        let of = siblings.place.of as f32;
        siblings.sum(&mut mean, header, times)?;
        for value in mean.iter_mut().flat_map(|tensor| &mut tensor.data) {
            *value /= of;
        }
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
