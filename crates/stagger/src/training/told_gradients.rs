//! Which gradients sinks get.

use crate::job::Job;

/// The last batch of every epoch, also of one that the planned end of the run cuts short; of an epoch that a time limit or a goal ends there are
/// none. An emulated run has no gradients.
pub fn batches(job: &Job) -> Vec<usize> {
    let per_epoch = job.sampler.batches_per_epoch().max(1);
    let of_run = job.horizon.batches;
    if job.emulated().is_some() {
        return Vec::new();
    }
    (1..=of_run.div_ceil(per_epoch))
        .map(|epoch| epoch.saturating_mul(per_epoch).min(of_run) - 1)
        .collect()
}
