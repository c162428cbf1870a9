//! The epoch that is still under way, for displays of a run.

use super::EpochTally;
use crate::stage_tally::rate;
use crate::summary::StageSummary;

impl EpochTally {
    /// Samples per second of the last stage in its current epoch so far; 0 before its first batch is done.
    pub fn images_per_second(&self) -> f64 {
        let Some(last) = self.stages.last() else {
            return 0.0;
        };
        let pending = last.epoch.checked_sub(self.first_pending);
        let samples = pending
            .and_then(|at| self.pending.get(at))
            .map_or(0, |epoch| epoch.trained.samples);
        rate(samples, last.tally.wall())
    }

    /// The current epoch of the last stage, from 0.
    pub(crate) fn current_epoch(&self) -> usize {
        self.stages.last().map_or(0, |last| last.epoch)
    }

    /// Version of every stage, and what it has done in its current epoch so far; `None` before its first action in it.
    pub(crate) fn stages_so_far(&self) -> impl Iterator<Item = (usize, Option<StageSummary>)> {
        self.stages.iter().map(|stage| {
            let has_begun = !stage.tally.wall().is_zero();
            (stage.version, has_begun.then(|| stage.tally.summary()))
        })
    }
}
