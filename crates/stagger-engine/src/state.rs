//! A stage's state, as named tensors in host memory.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use stagger_model::Model;

use crate::error::EngineError;
use crate::tensor::HostTensor;

/// Prefix of optimizer state: `optimizer.<parameter>.<slot>`.
const OPTIMIZER: &str = "optimizer.";

/// Everything a stage has learnt, by name. Parameters and buffers have PyTorch's names and memory layouts
/// (`layer1.0.conv1.weight`, `bn1.running_mean`); optimizer state is `optimizer.<parameter>.<slot>` with the slots of
/// [`crate::Optimizer::slots`], `drift` where [`crate::Stage::track_drift`] was called, `average` where
/// [`crate::Stage::track_average`] was, and for optimizers that count
/// steps `optimizer.<parameter>.step`, `[1]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageState {
    /// Parameters, buffers and optimizer state.
    pub tensors: BTreeMap<String, HostTensor>,
    /// PyTorch's `….num_batches_tracked`: 64-bit integers, on disk scalars.
    pub counters: BTreeMap<String, u64>,
}

impl StageState {
    /// The name of a parameter's optimizer state.
    pub fn optimizer_name(parameter: &str, slot: &str) -> String {
        format!("{OPTIMIZER}{parameter}.{slot}")
    }

    /// The slot of a parameter's running mean.
    pub(crate) const AVERAGE: &'static str = "average";

    /// Parameters by their running means, with buffers and counters as they are; `None` where no parameter has one. A parameter without
    /// one, as of a stage that keeps its weights, is as it is.
    pub fn averaged(&self) -> Option<Self> {
        let mut averaged = self.clone().without_optimizer();
        let mut any = false;
        for (name, tensor) in &mut averaged.tensors {
            if let Some(mean) = self.tensors.get(&Self::optimizer_name(name, Self::AVERAGE)) {
                tensor.clone_from(mean);
                any = true;
            }
        }
        any.then_some(averaged)
    }

    /// Parameters by name: what is neither optimizer state nor a running statistic.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        let is_parameter = |name: &str| {
            let is_statistic = name.ends_with(".running_mean") || name.ends_with(".running_var");
            !name.starts_with(OPTIMIZER) && !is_statistic
        };
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, tensor)| (name.as_str(), tensor))
            .filter(move |(name, _)| is_parameter(name))
    }

    /// Whether any optimizer state is in it.
    pub fn has_optimizer(&self) -> bool {
        self.optimizer_names().next().is_some()
    }

    /// The names of all optimizer state.
    pub(crate) fn optimizer_names(&self) -> impl Iterator<Item = &String> {
        let names = self.tensors.keys();
        names.filter(|name| name.starts_with(OPTIMIZER))
    }

    /// Takes over all entries of another stage's state, replacing those of the same name: the states of all stages
    /// merged are that of the whole model.
    pub fn merge(&mut self, other: Self) {
        self.tensors.extend(other.tensors);
        self.counters.extend(other.counters);
    }

    /// Only the entries of these blocks: a stage's share of the whole model's state. Names that belong to no block
    /// are left out.
    ///
    /// # Panics
    /// When the range reaches beyond the last block.
    pub fn of_blocks(&self, model: &Model, blocks: Range<usize>) -> Self {
        let mut part = Self::default();
        for buffer in model.buffers(blocks.clone()) {
            self.copy_tensor(&buffer.name, &mut part);
        }
        for parameter in model.parameters(blocks.clone()) {
            self.copy_tensor(&parameter.name, &mut part);
            let prefix = format!("{OPTIMIZER}{}.", parameter.name);
            for name in self.tensors.keys().filter(|name| name.starts_with(&prefix)) {
                self.copy_tensor(name, &mut part);
            }
        }
        for layer in model.blocks[blocks].iter().flat_map(|block| &block.layers) {
            for name in layer.batch_counters() {
                if let Some(&count) = self.counters.get(&name) {
                    part.counters.insert(name, count);
                }
            }
        }
        part
    }

    /// Only parameters, buffers and counters: what a weights file for PyTorch holds.
    pub fn without_optimizer(mut self) -> Self {
        self.tensors.retain(|name, _| !name.starts_with(OPTIMIZER));
        self
    }

    fn copy_tensor(&self, name: &str, to: &mut Self) {
        if let Some(tensor) = self.tensors.get(name) {
            to.tensors.insert(name.to_owned(), tensor.clone());
        }
    }

    /// Checks that the tensors are exactly `expected`, name by name and shape by shape.
    pub(crate) fn check(
        &self,
        stage: &str,
        expected: &BTreeMap<String, Vec<usize>>,
    ) -> Result<(), EngineError> {
        for (name, shape) in expected {
            let Some(tensor) = self.tensors.get(name) else {
                let (stage, name, expected) = (stage.to_owned(), name.clone(), shape.clone());
                return Err(EngineError::Missing {
                    stage,
                    name,
                    expected,
                });
            };
            tensor.check()?;
            if tensor.shape != *shape {
                let (expected, found) = (shape.clone(), tensor.shape.clone());
                return Err(EngineError::StateShape {
                    name: name.clone(),
                    expected,
                    found,
                });
            }
        }
        match self
            .tensors
            .keys()
            .find(|name| !expected.contains_key(*name))
        {
            Some(name) => Err(EngineError::Unexpected {
                stage: stage.to_owned(),
                name: name.clone(),
            }),
            None => Ok(()),
        }
    }
}
