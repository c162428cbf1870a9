//! Running statistics as they were before a pass, for passes that turn out not to count.

use std::fmt;

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::RunningStatistics;
use crate::layered::timing::timed;
use crate::tensor::HostTensor;

use super::LayeredStage;

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

    /// Mean and variance of each.
    pub(super) fn download(&self) -> Result<Vec<HostTensor>, EngineError> {
        let tensors = self.0.iter().flat_map(|seen| [&seen.mean, &seen.variance]);
        tensors
            .map(|tensor| timed("download", || K::download(tensor)))
            .collect()
    }

    pub(super) fn put_back(self, statistics: &mut [RunningStatistics<K>]) {
        for (each, seen) in statistics.iter_mut().zip(self.0) {
            each.mean = seen.mean;
            each.variance = seen.variance;
            each.batches = seen.batches;
        }
    }
}

impl<K: Kernels> LayeredStage<K> {
    /// Statistics of values that [`Statistics::download`] gave, or of the like.
    pub(super) fn upload_statistics(
        &self,
        values: Vec<HostTensor>,
    ) -> Result<Statistics<K>, EngineError> {
        let (expected, found) = (2 * self.statistics.len(), values.len());
        let mut fits = (self.statistics.iter().flat_map(|each| [each.channels; 2])).zip(&values);
        if expected != found || !fits.all(|(channels, value)| value.shape == [channels]) {
            let stage = self.label.clone();
            return Err(EngineError::ForeignStatistics {
                stage,
                expected,
                found,
            });
        }
        let mut values = values.into_iter();
        let mut next = || {
            // As many as there are.
            let value = values.next().unwrap_or_default();
            let (precision, device) = (self.precision.master(), &self.device);
            timed("upload", || K::upload(value, precision, device))
        };
        let mut seen = Vec::with_capacity(self.statistics.len());
        for each in &self.statistics {
            seen.push(Seen {
                mean: next()?,
                variance: next()?,
                batches: each.batches,
            });
        }
        Ok(Statistics(seen))
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
