//! The ring of the replicas of a stage: sums of what they have, and the values of all of them.
//!
//! A sum goes around the ring twice: once each replica adds its values to a part and passes it on, and once the
//! finished parts are passed on. Every part is added up in the order of the ring, so the bits do not depend on timing, nor on what
//! the ring is made of; and all replicas get the same bits.
//!
//! The worker of a replica sums between passes. Batch normalisation over all replicas gathers within a pass, when the stage has the
//! thread: so both have a handle of the ring.
//!
//! **No exchange can lead to a deadlock.** All replicas of a stage run the same program, and within a pass the same layers, so
//! they come to the same exchanges in the same order: no replica waits in an exchange that another one leaves out. What passes
//! depend on besides are messages from neighbours, and hops beside replicas have room for all that programs can have in flight
//! ([`ports`](crate::ports)), so no send waits. Take then the order of one copy of each stage, with every action done
//! by all replicas at once, exchange by exchange. In it, whatever a replica waits for comes earlier, or is the exchange that it
//! is in: so the replica that is least far in it can always go on.

use std::sync::Arc;
use std::time::Instant;

use stagger_engine::{AcrossReplicas, EngineError, HostTensor};
use stagger_transport::sync::{Mutex, MutexGuard, lock};
use stagger_transport::{Header, Lane};

use super::times::Times;
use super::values::{give, take};
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::event::Waits;
use crate::fault::Fault;
use crate::ports::Ring;
use stagger_schedule::Place;

/// A handle of a replica's end of the ring.
pub(super) struct StageRing<T>(Arc<Mutex<End<T>>>);

struct End<T> {
    links: Ring<Cargo<T>>,
    place: Place,
    line: Line,
    clock: Instant,
    /// Of the stage's parameters.
    version: usize,
    /// Exchanges within passes since the last update.
    exchanges: usize,
    /// Waiting within passes that no action has on its account yet.
    waits: Waits,
    /// Why an exchange within a pass failed: the stage can tell its worker only that it did.
    fault: Option<Fault>,
}

impl<T> Clone for StageRing<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> StageRing<T> {
    pub fn new(links: Ring<Cargo<T>>, place: Place, line: Line) -> Self {
        Self(Arc::new(Mutex::new(End {
            links,
            place,
            line,
            clock: Instant::now(),
            version: 0,
            exchanges: 0,
            waits: Waits::default(),
            fault: None,
        })))
    }

    fn end(&self) -> MutexGuard<'_, End<T>> {
        lock(&self.0)
    }

    /// Sets the common start of the run.
    pub fn start_clock(&self, clock: Instant) {
        self.end().clock = clock;
    }

    /// Notes that the stage is at this version now.
    pub fn is_at(&self, version: usize) {
        let mut end = self.end();
        end.version = version;
        end.exchanges = 0;
    }

    /// Replaces values by their sum over all replicas. All have as many tensors of the same shapes, and call this in the same
    /// order. Every tensor is cut into as many parts as there are replicas, so that the order in which a value is added up depends
    /// on its place in its tensor, and not on what else the stage has.
    pub fn sum(
        &self,
        tensors: &mut [HostTensor],
        version: usize,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let mut end = self.end();
        let of = end.place.of;
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
        end.sum_parts(&mut parts, version, times)?;
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

    /// The values of all replicas, in their order; all have as many.
    pub fn gather(&self, own: Vec<f32>, times: &mut Times) -> Result<Vec<Vec<f32>>, Fault> {
        self.end().gather(own, times)
    }

    /// What exchanges within the pass that is over leave to its action: their waiting, and why one of them failed.
    pub fn settle(&self) -> (Waits, Option<Fault>) {
        let mut end = self.end();
        (std::mem::take(&mut end.waits), end.fault.take())
    }
}

impl<T: Send> AcrossReplicas for StageRing<T> {
    fn gather(&self, own: Vec<f32>) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut end = self.end();
        let mut times = Times::default();
        let all = end.gather(own, &mut times);
        end.waits.add(times.waits);
        all.map_err(|fault| {
            let message = fault.to_string();
            end.fault = Some(fault);
            EngineError::Replicas { message }
        })
    }
}

impl<T> End<T> {
    /// Sends every part around the ring twice.
    fn sum_parts(
        &mut self,
        parts: &mut [Vec<f32>],
        version: usize,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let Place {
            replica: own, of, ..
        } = self.place;
        for step in 0..of - 1 {
            let (gives, takes) = ((own + of - step) % of, (own + 2 * of - step - 1) % of);
            let (gives, expected) = (parts[gives].clone(), parts[takes].len());
            let received = self.exchange(gives, expected, (version, step), times)?;
            for (value, received) in parts[takes].iter_mut().zip(received) {
                *value += received;
            }
        }
        for step in 0..of - 1 {
            let (gives, takes) = ((own + 1 + of - step) % of, (own + of - step) % of);
            let (gives, expected) = (parts[gives].clone(), parts[takes].len());
            let step = of - 1 + step;
            parts[takes] = self.exchange(gives, expected, (version, step), times)?;
        }
        Ok(())
    }

    /// Passes on the values of this replica and then those that come in, until all have been everywhere.
    fn gather(&mut self, own: Vec<f32>, times: &mut Times) -> Result<Vec<Vec<f32>>, Fault> {
        let Place { replica, of, .. } = self.place;
        // A sum takes the first numbers; each exchange within a pass those that follow.
        self.exchanges += 1;
        let first = (1 + self.exchanges) * (of - 1);
        let expected = own.len();
        let mut all = vec![Vec::new(); of];
        all[replica] = own;
        for step in 0..of - 1 {
            let (gives, takes) = (
                (replica + of - step) % of,
                (replica + 2 * of - step - 1) % of,
            );
            let gives = all[gives].clone();
            all[takes] = self.exchange(gives, expected, (self.version, first + step), times)?;
        }
        Ok(all)
    }

    /// Passes values on to the next replica, and takes as many as `takes` from the one before. The version and the number of the
    /// message tell what it is part of.
    fn exchange(
        &mut self,
        gives: Vec<f32>,
        takes: usize,
        (version, number): (usize, usize),
        times: &mut Times,
    ) -> Result<Vec<f32>, Fault> {
        let header = Header {
            lane: Lane::Activation,
            batch: version,
            micro: number,
            version: self.version,
            sent_at: self.clock.elapsed(),
            mark: None,
        };
        let Ring { next, previous } = &mut self.links;
        let (next, previous) = (next.as_mut(), previous.as_mut());
        let waits_for = WaitsFor::Replicas;
        give(next, waits_for, header, gives, &self.line, times)?;
        let values = take(previous, waits_for, header, &self.line, times)?;
        match values.len() == takes {
            true => Ok(values),
            false => Err(Fault::Program {
                what: "an exchange of replicas of which one has other values",
            }),
        }
    }
}
