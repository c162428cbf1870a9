//! How many copies there are of each stage, and what connects them.

use stagger_model::Model;
use stagger_runtime::{Replicas, ReplicasError};
use stagger_schedule::{MAX_REPLICAS, Schedule};
use stagger_transport::wire::Format;

use super::batches::has_batch_norm;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// What connects the stages of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// A tensor moves to the next stage without a copy.
    #[default]
    Threads,
    /// Every message is written to bytes and read again, as between processes.
    Bytes,
}

/// The transport, and the format of tensors that go through bytes.
pub(super) fn choose(options: &TrainingOptions) -> Result<(TransportChoice, Format), Refusal> {
    let unknown = |option, found: &str, expected| Refusal::Choice {
        option,
        found: found.to_owned(),
        expected,
    };
    let transport = match options.transport.as_deref() {
        None | Some("threads") => TransportChoice::Threads,
        Some("bytes") => TransportChoice::Bytes,
        Some(found) => return Err(unknown("transport", found, "`threads` or `bytes`")),
    };
    let format = match options.wire_dtype.as_deref() {
        None | Some("f32") => Format::F32,
        Some("bf16") => Format::Bf16,
        Some(found) => return Err(unknown("wire_dtype", found, "`f32` or `bf16`")),
    };
    Ok((transport, format))
}

/// Replicas of each stage: what the schedule's notation says, or else what option `replicas` does.
///
/// # Errors
/// A [`Refusal`] of numbers that do not suit the schedule or each other.
pub(crate) fn replicas(said: Option<&[usize]>, schedule: &Schedule) -> Result<Replicas, Refusal> {
    let (stages, own) = (schedule.stages(), schedule.replicas());
    let unsaid = [own.unwrap_or(1)];
    let counts = match said {
        None | Some([]) => &unsaid[..],
        Some(counts) => counts,
    };
    if let Some(&found) = counts.iter().find(|&&count| count > MAX_REPLICAS) {
        return Err(Refusal::Value {
            option: "replicas",
            found: found.to_string(),
            kind: "a number of replicas",
            expected: "at most 64",
        });
    }
    let replicas = Replicas::new(counts, stages).map_err(Refusal::Replicas)?;
    if let Some(expected) = own
        && replicas != all(expected, stages)?
    {
        return Err(Refusal::OtherReplicas {
            schedule: schedule.to_string(),
            expected,
            found: replicas.to_string(),
        });
    }
    if replicas.any() && schedule.synthesizes() {
        return Err(Refusal::SynthesizersWithReplicas {
            schedule: schedule.to_string(),
        });
    }
    Ok(replicas)
}

/// Whether replicas normalise batches together. What changes nothing is refused.
pub(super) fn sync_batch_norm(
    options: &mut TrainingOptions,
    replicas: &Replicas,
    model: &Model,
) -> Result<bool, Refusal> {
    // One spelling of the same, so that a resumed run may be told in another one.
    options.sync_batch_norm = options.sync_batch_norm.filter(|&together| together);
    let together = options.sync_batch_norm.is_some();
    if together && !replicas.any() {
        return Err(Refusal::SyncWithoutReplicas);
    }
    if together && !has_batch_norm(model) {
        return Err(Refusal::SyncWithoutBatchNorm {
            model: model.name.clone(),
        });
    }
    Ok(together)
}

fn all(count: usize, stages: usize) -> Result<Replicas, Refusal> {
    let replicas: Result<_, ReplicasError> = Replicas::new(&[count], stages);
    replicas.map_err(Refusal::Replicas)
}
