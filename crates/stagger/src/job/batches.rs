//! Whether every batch can be trained on.

use stagger_data::Sampler;
use stagger_model::{Layer, Model};
use stagger_schedule::Schedule;

use crate::refusal::Refusal;

/// What a batch is shared out into.
pub struct Shares<'a> {
    /// Of which micro-batches there are.
    pub schedule: &'a Schedule,
    /// Shares of each of these: the most replicas of a stage.
    pub replicas: usize,
    /// Whether batch normalisation is over all of them, and there are several.
    pub normalized_together: bool,
}

/// Makes sure that the smallest batch has a sample for each of the shares that it is cut into, for micro-batches and replicas,
/// and two where batch normalisation needs them: one sample has no variance to normalise by (where a layer sees one value per channel), and next to none anywhere
/// else. Shares that are normalised together have two in all.
///
/// # Errors
/// [`Refusal::BatchSize`] or [`Refusal::LastBatch`] with the batch that is too small and what to do.
pub fn check(
    model: &Model,
    sampler: &Sampler,
    batch_size: usize,
    samples: usize,
    shares: &Shares<'_>,
) -> Result<(), Refusal> {
    let Shares {
        schedule,
        normalized_together,
        ..
    } = *shares;
    let shares = schedule.micro_batches() * shares.replicas;
    let normalizes = has_batch_norm(model) && !normalized_together;
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

/// Whether any layer normalises batches.
pub fn has_batch_norm(model: &Model) -> bool {
    let mut found = false;
    for layer in model.blocks.iter().flat_map(|block| &block.layers) {
        layer.walk(&mut |layer| found |= matches!(layer, Layer::BatchNorm2d { .. }));
    }
    found
}
