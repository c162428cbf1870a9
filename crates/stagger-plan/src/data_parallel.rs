//! Data parallelism by a formula: every device has the whole network, and all wait for the sum of their gradients. A simulation of
//! one stage with replicas is more exact, as it has the messages of the sum.

use stagger_schedule::Action;

use crate::times::Times;

/// How gradients are summed up: over a ring, as this runtime does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingSum {
    /// Bytes of all gradients.
    pub bytes: u64,
    /// From the end of sending to the arrival of a message, in seconds.
    pub latency: f64,
    /// How long a million bytes occupy a link, in seconds.
    pub per_megabyte: f64,
}

impl RingSum {
    /// What the sum over so many replicas takes, in seconds: in 2 (R − 1) steps every replica sends an R-th of the gradients.
    #[must_use]
    pub fn seconds(&self, replicas: usize) -> f64 {
        if replicas <= 1 {
            return 0.0;
        }
        let steps = 2.0 * (replicas - 1) as f64;
        let megabytes = self.bytes as f64 / 1e6 / replicas as f64;
        steps * (self.latency + megabytes * self.per_megabyte)
    }
}

/// Batches per second of so many replicas as the times have stages, where stage r stands for replica r with the whole network and
/// its share of a batch. Each batch takes as long as the slowest replica's forward and backward pass, the sum, and an update.
#[must_use]
pub fn data_parallel_rate(times: &Times, sum: &RingSum, batches: usize) -> f64 {
    let replicas = times.stages();
    let of = |replica: usize, batch: usize| {
        let micro = 0;
        let forward = times.action(replica, Action::Forward { batch, micro });
        let backward = times.action(replica, Action::Backward { batch, micro });
        let update = times.action(replica, Action::Update { version: batch });
        (forward + backward, update)
    };
    let seconds: f64 = (0..batches)
        .map(|batch| {
            let taken = (0..replicas).map(|replica| of(replica, batch));
            let (passes, update) = taken.fold((0, 0), |(passes, update), (own, own_update)| {
                (passes.max(own), update.max(own_update))
            });
            (passes + update) as f64 / 1e9 + sum.seconds(replicas)
        })
        .sum();
    if seconds > 0.0 {
        batches as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stagger_schedule::Schedule;

    use super::*;
    use crate::Pipeline;

    const NOTHING: RingSum = RingSum {
        bytes: 0,
        latency: 0.0,
        per_megabyte: 0.0,
    };

    #[test]
    fn the_slowest_replica_counts() {
        let schedule = Schedule::parse("bp", Some(3)).unwrap();
        let times = Times::new(&Pipeline::equal(&schedule, 0.030), 1, 0);
        assert!((data_parallel_rate(&times, &NOTHING, 10) * 0.030 - 1.0).abs() < 1e-9);
        let slow = times.slowed_by(Arc::new(|place, _| f64::from(place.stage == 1)));
        assert!((data_parallel_rate(&slow, &NOTHING, 10) * 0.060 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_ring_moves_twice_the_gradients_but_one_share() {
        let sum = RingSum {
            bytes: 12_000_000,
            latency: 0.001,
            per_megabyte: 0.1,
        };
        assert_eq!(sum.seconds(1), 0.0);
        assert!((sum.seconds(2) - 2.0 * (0.001 + 0.6)).abs() < 1e-12);
        assert!((sum.seconds(4) - 6.0 * (0.001 + 0.3)).abs() < 1e-12);
    }
}
