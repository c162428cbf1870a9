//! The memory that a run's tensors take, by their shapes.

use stagger_model::StageMemory;
use stagger_schedule::Facts;

use crate::job::{self, Job};

/// Bytes of tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorMemory {
    /// Weights in all their versions, gradients, and the optimizer's own.
    pub weight_bytes: u64,
    /// Inputs whose backward pass is still to come.
    pub kept_input_bytes: u64,
    /// Outputs of all layers in the graphs that are held at once. An engine does not keep every output.
    pub graph_bytes: u64,
}

impl TensorMemory {
    /// Of the places, counted through all stages, that `counts`.
    pub fn of(job: &Job, counts: impl Fn(usize) -> bool) -> Self {
        if job.emulated().is_some() {
            return Self::default();
        }
        let copies = 1 + job.optimizer.slots().len() as u64 + u64::from(job.average.is_some());
        let facts = Facts::of(&job.schedule);
        let inputs = job::summary_inputs(&job.schedule);
        let stages = job.cut.stages().iter().zip(&facts.stages).zip(inputs);
        let mut sum = Self::default();
        for (stage, ((blocks, facts), input)) in stages.enumerate() {
            let (Ok(cost), Ok(shape)) = (
                job.model.cost(blocks.clone()),
                job.model.stage_input_shape(blocks.start),
            ) else {
                continue;
            };
            let (all, counted) = {
                let places = job.replicas.places_of(stage..stage + 1);
                (
                    places.len() as u64,
                    places.filter(|&place| counts(place)).count() as u64,
                )
            };
            let part = StageMemory::estimate(&cost, &shape, input, job.batch_size);
            // Replicas have a copy of the weights each, and share a batch.
            let copies = copies + facts.weight_copies as u64;
            let weights = cost.parameter_bytes().saturating_mul(copies);
            for (sum, bytes) in [
                (&mut sum.weight_bytes, weights.saturating_mul(counted)),
                (
                    &mut sum.kept_input_bytes,
                    part.kept_input_bytes / all.max(1) * counted,
                ),
                (
                    &mut sum.graph_bytes,
                    part.graph_bytes / all.max(1) * counted,
                ),
            ] {
                *sum = sum.saturating_add(bytes);
            }
        }
        sum
    }
}
