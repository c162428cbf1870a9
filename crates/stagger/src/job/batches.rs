//! Whether every batch can be trained on.

use stagger_data::Sampler;
use stagger_model::{Layer, Model};
use stagger_schedule::Schedule;

use crate::refusal::Refusal;

/// Makes sure that the smallest batch has a sample for each of the `shares` that it is cut into, for micro-batches and replicas,
/// and two where batch normalisation needs them: one sample has no variance to normalise by (where a layer sees one value per channel), and next to none anywhere
/// else.
///
/// # Errors
/// [`Refusal::BatchSize`] or [`Refusal::LastBatch`] with the batch that is too small and what to do.
pub fn check(
    model: &Model,
    sampler: &Sampler,
    batch_size: usize,
    samples: usize,
    (schedule, shares): (&Schedule, usize),
) -> Result<(), Refusal> {
    let mut layers = model.blocks.iter().flat_map(|block| &block.layers);
    let normalizes = layers.any(has_batch_norm);
    let needed = if normalizes { 2 * shares } else { shares };
    // What a batch is shared out into.
    let what = match schedule.micro_batches() {
        of if of == shares => "micro-batches",
        1 => "replicas' shares",
        _ => "replicas' shares of micro-batches",
    };
    let (reason, least) = match (normalizes, shares) {
        (true, 1) => (
            "batch normalisation needs at least 2 samples per batch".to_owned(),
            2,
        ),
        (true, of) => (
            format!("batch normalisation needs at least 2 samples in each of {of} {what}"),
            needed,
        ),
        (false, of) => (
            format!("each of {of} {what} needs at least 1 sample"),
            needed,
        ),
    };
    if batch_size < least {
        return Err(Refusal::BatchSize {
            found: batch_size,
            model: model.name.clone(),
            schedule: schedule.to_string(),
            reason,
            least,
        });
    }
    let last = sampler.batch_len(sampler.batches_per_epoch() - 1);
    if last < least {
        return Err(Refusal::LastBatch {
            batch_size,
            samples,
            found: last,
            reason,
        });
    }
    Ok(())
}

fn has_batch_norm(layer: &Layer) -> bool {
    let mut found = false;
    layer.walk(&mut |layer| found |= matches!(layer, Layer::BatchNorm2d { .. }));
    found
}
