//! Staleness of a stage over several epochs or runs.

use serde::Serialize;

use crate::saturating;

/// Staleness of one stage: updates between the forward and the backward of a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StageStaleness {
    /// Mean over the batches.
    pub mean: f64,
    /// Maximum over the batches.
    pub max: usize,
    /// Number of batches with a staleness of 0, 1, 2, ….
    pub counts: Vec<usize>,
}

impl StageStaleness {
    /// Adds the maximum and the counts of another epoch or run. The mean is left to the caller, who knows how to weight it.
    pub(crate) fn add(&mut self, max: usize, counts: &[usize]) {
        self.max = self.max.max(max);
        saturating::add_each(&mut self.counts, counts);
    }
}
