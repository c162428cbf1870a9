//! Whether every batch can be trained on.

use stagger_data::Sampler;
use stagger_model::{Layer, Model, ModelError};
use stagger_schedule::Schedule;

use crate::error::Error;
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
/// and two where a batch normalisation needs them: where images have shrunk to one pixel, one sample gives a channel a single
/// value, which has no variance to normalise by. Shares that are normalised together have two in all.
///
/// # Errors
/// [`Refusal::BatchSize`] or [`Refusal::LastBatch`] with the batch that is too small and what to do.
pub fn check(
    model: &Model,
    sampler: &Sampler,
    batch_size: usize,
    samples: usize,
    shares: &Shares<'_>,
) -> Result<(), Error> {
    let Shares {
        schedule,
        normalized_together,
        ..
    } = *shares;
    let shares = schedule.micro_batches() * shares.replicas;
    let normalizes = sees_one_value(model)? && !normalized_together;
    let needed = if normalizes { 2 * shares } else { shares };
    // What a batch is shared out into.
    let what = match schedule.micro_batches() {
        of if of == shares => "micro-batches",
        1 => "replicas' shares",
        _ => "replicas' shares of micro-batches",
    };
    let (reason, least) = match (normalizes, shares) {
        (true, 1) => (
            "batch normalisation of single pixels needs at least 2 samples per batch".to_owned(),
            2,
        ),
        (true, of) => (
            format!(
                "batch normalisation of single pixels needs at least 2 samples in each of {of} {what}"
            ),
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
        }
        .into());
    }
    let last = sampler.batch_len(sampler.batches_per_epoch() - 1);
    if last < least {
        return Err(Refusal::LastBatch {
            batch_size,
            samples,
            found: last,
            reason,
        }
        .into());
    }
    Ok(())
}

/// How many samples a share of a batch needs that is normalised by itself.
pub fn samples_of_share(model: &Model) -> Result<usize, ModelError> {
    Ok(if sees_one_value(model)? { 2 } else { 1 })
}

/// Whether a batch normalisation gets images of one pixel.
fn sees_one_value(model: &Model) -> Result<bool, ModelError> {
    for (number, block) in model.blocks.iter().enumerate() {
        let input = model.stage_input_shape(number)?;
        if reaches_one_value(&block.layers, input) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for layers in a row; they fit, as the model has been checked.
fn reaches_one_value(layers: &[Layer], mut input: Vec<usize>) -> bool {
    for layer in layers {
        let found = match layer {
            Layer::BatchNorm2d { .. } => input[1..].iter().all(|&side| side == 1),
            _ => {
                let mut branches = layer.branches().into_iter().flatten();
                branches.any(|branch| reaches_one_value(branch, input.clone()))
            }
        };
        if found {
            return true;
        }
        let Ok(output) = layer.output_shape(&input) else {
            return false;
        };
        input = output;
    }
    false
}

/// Whether any layer normalises batches.
pub fn has_batch_norm(model: &Model) -> bool {
    let mut found = false;
    for layer in model.blocks.iter().flat_map(|block| &block.layers) {
        layer.walk(&mut |layer| found |= matches!(layer, Layer::BatchNorm2d { .. }));
    }
    found
}
