//! Learning-rate rescheduling: stale stages start slowly.

/// The learning rate of a stage with staleness `m` is multiplied by `(m + 1)^−p`, with
/// `p = 1 − min(t / T, 1)` for batch `t`: divided by the delay at first, and untouched after the
/// `T` batches of the annealing.
///
/// Source: Yang, Zhang, Li, Ré, Aberger, De Sa, "PipeMare: Asynchronous Pipeline Parallel DNN
/// Training" (T1), arXiv 1910.05124. There the rate is divided by `τ^p` with `τ` the delay from
/// forward to backward; here that delay is `m + 1`, so that an exact stage keeps its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescheduling {
    /// `T`: batches until the rate is that of the schedule. 0 turns the correction off.
    pub anneal_batches: usize,
    /// The batch from which `t` counts; before it, nothing is stale and the factor is 1.
    pub first_batch: usize,
}

impl Rescheduling {
    /// The factor of the learning rate for a batch, in `1/(staleness + 1) ..= 1`.
    pub fn factor(self, staleness: usize, batch: usize) -> f64 {
        match batch.checked_sub(self.first_batch) {
            Some(since) if since < self.anneal_batches => {
                let power = 1.0 - since as f64 / self.anneal_batches as f64;
                (staleness as f64 + 1.0).powf(-power)
            }
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_from_one_over_the_delay_to_its_own() {
        let rescheduling = Rescheduling {
            anneal_batches: 100,
            first_batch: 0,
        };
        assert_eq!(rescheduling.factor(3, 0), 0.25);
        assert_eq!(rescheduling.factor(3, 50), 0.5);
        assert_eq!(rescheduling.factor(3, 100), 1.0);
        assert_eq!(rescheduling.factor(3, 1000), 1.0);
        assert_eq!(rescheduling.factor(0, 0), 1.0);
    }

    #[test]
    fn it_starts_when_the_staleness_does() {
        let rescheduling = Rescheduling {
            anneal_batches: 100,
            first_batch: 10,
        };
        let factors = [9, 10, 60, 110].map(|batch| rescheduling.factor(3, batch));
        assert_eq!(factors, [1.0, 0.25, 0.5, 1.0]);
    }

    #[test]
    fn without_annealing_there_is_no_correction() {
        let off = Rescheduling {
            anneal_batches: 0,
            first_batch: 0,
        };
        assert_eq!(off.factor(3, 0), 1.0);
    }
}
