//! The memory that measuring certainly takes beside the run: too little is refused before anything is computed.

use stagger_report::available_memory;

use super::error::TheoryError;
use super::versions::{kept, measured};
use crate::job::Job;

/// Makes sure that the images of so many probe batches fit into memory, with the weights of all versions that are kept.
///
/// # Errors
/// [`TheoryError::Memory`].
pub(super) fn check(job: &Job, steps: usize, probes: usize) -> Result<(), TheoryError> {
    let needed = image_bytes(job, probes).saturating_add(weight_bytes(job, steps));
    match available_memory() {
        Some(found) if needed > found.bytes => Err(TheoryError::Memory {
            probes,
            needed,
            found: found.bytes,
            limit: found.limit.describe(),
        }),
        _ => Ok(()),
    }
}

/// All of them are held, as all versions see the same ones.
fn image_bytes(job: &Job, probes: usize) -> u64 {
    let shape = job.split.train.shape();
    let values = shape.iter().map(|&side| side as u64);
    let images = [probes, job.sampler.batch_len(0), size_of::<f32>()].map(|count| count as u64);
    values.chain(images).fold(1, u64::saturating_mul)
}

fn weight_bytes(job: &Job, steps: usize) -> u64 {
    let policies = job.schedule.policies();
    let staleness: Vec<usize> = policies.iter().map(|policy| policy.staleness).collect();
    let stages = job.cut.stages();
    let of_stage = |stage: usize| {
        let cost = job.model.cost(stages[stage].clone());
        cost.map_or(0, |cost| cost.parameter_bytes())
    };
    let kept = kept(&measured(steps), &staleness);
    let bytes = kept.iter().map(|&(_, stage)| of_stage(stage));
    bytes.fold(0, u64::saturating_add)
}
