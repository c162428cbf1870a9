//! The sum of gradients over the replicas of a stage.

use stagger_schedule::Place;

use super::lane::{Lane, Transfer};
use crate::times::{Times, ring_steps};

/// The replicas of a stage, and the links from each to the next one.
pub(super) struct Ring {
    stage: usize,
    /// `None` where sums take no time.
    links: Option<Vec<Lane>>,
    /// When each replica has come to the sum that it is at.
    entered: Vec<Option<u64>>,
    /// When each replica that has not gone on yet has the sum.
    left: Vec<Option<u64>>,
}

impl Ring {
    pub fn new(stage: usize, replicas: usize, times: &Times) -> Self {
        Self {
            stage,
            // A replica sends once before it receives.
            links: times
                .sums_take_time(stage)
                .then(|| (0..replicas).map(|_| Lane::new(1)).collect()),
            entered: vec![None; replicas],
            left: vec![None; replicas],
        }
    }

    /// When a replica that comes to the sum of a version at this time has it. `None` until all others have come to it.
    pub fn sum(&mut self, replica: usize, at: u64, version: usize, times: &Times) -> Option<u64> {
        if self.left[replica].is_some() {
            return self.left[replica];
        }
        self.entered[replica] = Some(at);
        let entered: Option<Vec<u64>> = self.entered.iter().copied().collect();
        let left = self.exchange(entered?, version, times);
        self.left = left.into_iter().map(Some).collect();
        self.entered.fill(None);
        self.left[replica]
    }

    /// Notes that a replica goes on.
    pub fn leave(&mut self, replica: usize) {
        self.left[replica] = None;
    }

    /// In every step each replica sends to the next one, waits for room, and takes what the one before has sent.
    fn exchange(&mut self, mut now: Vec<u64>, version: usize, times: &Times) -> Vec<u64> {
        let of = now.len();
        let Some(links) = &mut self.links else {
            let last = now.iter().copied().max().unwrap_or_default();
            return vec![last; of];
        };
        for step in 0..ring_steps(of) {
            for (replica, link) in links.iter_mut().enumerate() {
                let place = Place {
                    stage: self.stage,
                    replica,
                    of,
                };
                let (occupies, latency) = times.ring(place, version, step);
                link.send(now[replica], Transfer { occupies, latency });
            }
            for (link, now) in links.iter_mut().zip(&mut now) {
                // What was sent before the last message is taken by now.
                *now = link.has_room_at().map_or(*now, |room| room.max(*now));
            }
            for (replica, now) in now.iter_mut().enumerate() {
                let link = &mut links[(replica + of - 1) % of];
                *now = link.arrives_at().map_or(*now, |arrival| arrival.max(*now));
                link.take(*now);
            }
        }
        now
    }
}
