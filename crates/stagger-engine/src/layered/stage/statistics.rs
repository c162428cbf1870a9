//! Running statistics as they were before a pass, for passes that turn out not to count.

use std::fmt;

use crate::layered::kernels::Kernels;
use crate::layered::parameters::RunningStatistics;

/// Handles of all running statistics of a stage.
pub struct Statistics<K: Kernels>(Vec<Seen<K>>);

/// Mean, variance and number of batches of one normalisation.
struct Seen<K: Kernels> {
    mean: K::Tensor,
    variance: K::Tensor,
    batches: u64,
}

impl<K: Kernels> Statistics<K> {
    pub(super) fn of(statistics: &[RunningStatistics<K>]) -> Self {
        let seen = |each: &RunningStatistics<K>| Seen {
            mean: each.mean.clone(),
            variance: each.variance.clone(),
            batches: each.batches,
        };
        Self(statistics.iter().map(seen).collect())
    }

    pub(super) fn put_back(self, statistics: &mut [RunningStatistics<K>]) {
        for (each, seen) in statistics.iter_mut().zip(self.0) {
            each.mean = seen.mean;
            each.variance = seen.variance;
            each.batches = seen.batches;
        }
    }
}

impl<K: Kernels> fmt::Debug for Statistics<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batches = self.0.iter().map(|seen| seen.batches);
        f.debug_tuple("Statistics")
            .field(&batches.collect::<Vec<_>>())
            .finish()
    }
}
