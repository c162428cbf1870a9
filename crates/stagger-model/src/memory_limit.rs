//! How much memory a stage may take.

use crate::cost::Cost;
use crate::summary::{StageMemory, StageSummaryInput};

/// The memory of a stage's device, and what decides how much of it a stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// What the stage may take at the most, in bytes.
    pub bytes: u64,
    /// What the schedule has the stage keep.
    pub stage: StageSummaryInput,
    /// Samples of a batch that the device works on: those of one replica.
    pub batch_size: usize,
    /// What the optimizer keeps, in values per parameter: 0 for plain SGD, 1 for momentum, 2 for AdamW.
    pub optimizer_slots: usize,
}

impl MemoryLimit {
    /// Bytes that a stage of this cost and input shape, both for one sample, takes by its shapes: weights in all their versions,
    /// gradients, what the optimizer keeps, kept inputs, and graphs. Working memory of the engine is not part of it.
    pub fn needs(&self, cost: &Cost, input: &[usize]) -> u64 {
        let memory = StageMemory::estimate(cost, input, self.stage, self.batch_size);
        let copies = self.stage.weight_copies.saturating_add(1);
        let copies = copies.saturating_add(self.optimizer_slots) as u64;
        let parameters = cost.parameter_bytes().saturating_mul(copies);
        let tensors = (memory.kept_input_bytes).saturating_add(memory.graph_bytes);
        parameters.saturating_add(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_needs_weights_inputs_and_graphs() {
        let cost = Cost {
            parameters: 10,
            activations: 100,
            ..Cost::default()
        };
        let stage = StageSummaryInput {
            staleness: 2,
            recompute: true,
            micro_batches: 2,
            kept_micro_batches: 3,
            weight_copies: 1,
        };
        let limit = MemoryLimit {
            bytes: 0,
            stage,
            batch_size: 8,
            optimizer_slots: 2,
        };
        // One copy of the weights, their gradients and two buffers; three inputs of 4 samples; one graph of 4 samples.
        let expected = 4 * (10 * 4 + 7 * 4 * 3 + 100 * 4);
        assert_eq!(limit.needs(&cost, &[7]), expected);
        let keeps_graphs = MemoryLimit {
            stage: StageSummaryInput {
                recompute: false,
                ..stage
            },
            ..limit
        };
        assert_eq!(keeps_graphs.needs(&cost, &[7]), expected + 4 * 100 * 4 * 2);
    }
}
