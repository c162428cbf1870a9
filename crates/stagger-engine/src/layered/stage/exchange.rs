//! State in and out.

use std::collections::BTreeMap;

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::Gradients;
use crate::layered::timing::timed;
use crate::state::StageState;
use crate::tensor::HostTensor;

use super::LayeredStage;

/// Slot name of the drift of a parameter, of which a state holds all, some or none.
const DRIFT: &str = "drift";

/// Slot name of the running mean of a parameter, likewise.
const AVERAGE: &str = StageState::AVERAGE;

/// Slot name of the step counter, in PyTorch's spelling.
const STEP: &str = "step";

impl<K: Kernels> LayeredStage<K> {
    /// Names and shapes of everything that the stage's state holds.
    fn expected(&self, with_optimizer: bool) -> BTreeMap<String, Vec<usize>> {
        let mut expected = BTreeMap::new();
        for statistics in &self.statistics {
            let (name, shape) = (&statistics.name, vec![statistics.channels]);
            expected.insert(format!("{name}.running_mean"), shape.clone());
            expected.insert(format!("{name}.running_var"), shape);
        }
        for each in &self.trained {
            let name = &each.info.name;
            expected.insert(name.clone(), each.info.shape.clone());
            if !with_optimizer {
                continue;
            }
            for slot in self.optimizer.slots() {
                expected.insert(
                    StageState::optimizer_name(name, slot),
                    each.info.shape.clone(),
                );
            }
            if self.optimizer.counts_steps() {
                expected.insert(StageState::optimizer_name(name, STEP), vec![1]);
            }
        }
        expected
    }

    /// Names and shapes of the drift and the means that this state holds.
    fn running_means(&self, state: &StageState) -> BTreeMap<String, Vec<usize>> {
        let each = self.trained.iter().flat_map(|each| {
            [DRIFT, AVERAGE].map(|slot| {
                let name = StageState::optimizer_name(&each.info.name, slot);
                (name, each.info.shape.clone())
            })
        });
        each.filter(|(name, _)| state.tensors.contains_key(name))
            .collect()
    }

    pub(super) fn export_state(&self) -> Result<StageState, EngineError> {
        let mut state = StageState::default();
        let mut put = |name: String, tensor: &K::Tensor| -> Result<(), EngineError> {
            state
                .tensors
                .insert(name, timed("download", || K::download(tensor))?);
            Ok(())
        };
        for statistics in &self.statistics {
            put(
                format!("{}.running_mean", statistics.name),
                &statistics.mean,
            )?;
            put(
                format!("{}.running_var", statistics.name),
                &statistics.variance,
            )?;
        }
        for (each, weight) in self.trained.iter().zip(&self.weights) {
            let name = &each.info.name;
            put(name.clone(), each.master.as_ref().unwrap_or(weight))?;
            for (slot, tensor) in self.optimizer.slots().iter().zip(&each.slots) {
                put(StageState::optimizer_name(name, slot), tensor)?;
            }
        }
        for (each, drift) in self.trained.iter().zip(&self.drift.values) {
            let name = StageState::optimizer_name(&each.info.name, DRIFT);
            let tensor = match drift {
                Some(drift) => timed("download", || K::download(drift))?,
                None => HostTensor::zeros(&each.info.shape),
            };
            state.tensors.insert(name, tensor);
        }
        for (each, average) in self.trained.iter().zip(&self.average.values) {
            if let Some(average) = average {
                let name = StageState::optimizer_name(&each.info.name, AVERAGE);
                let tensor = timed("download", || K::download(average))?;
                state.tensors.insert(name, tensor);
            }
        }
        if self.optimizer.counts_steps() {
            for each in &self.trained {
                let name = StageState::optimizer_name(&each.info.name, STEP);
                let step = HostTensor {
                    shape: vec![1],
                    data: vec![self.steps as f32],
                };
                state.tensors.insert(name, step);
            }
        }
        for statistics in &self.statistics {
            let name = format!("{}.num_batches_tracked", statistics.name);
            state.counters.insert(name, statistics.batches);
        }
        Ok(state)
    }

    pub(super) fn import_state(&mut self, state: &StageState) -> Result<(), EngineError> {
        let running_means = self.running_means(state);
        // They belong to the method of training: alone they are no state of the optimizer.
        let with_optimizer = state
            .optimizer_names()
            .any(|name| !running_means.contains_key(name));
        let mut expected = self.expected(with_optimizer);
        expected.extend(running_means);
        state.check(&self.label, &expected)?;
        let counters: Vec<String> = self
            .statistics
            .iter()
            .map(|statistics| format!("{}.num_batches_tracked", statistics.name))
            .collect();
        if let Some(name) = state.counters.keys().find(|name| !counters.contains(name)) {
            let (stage, name) = (self.label.clone(), name.clone());
            return Err(EngineError::Unexpected { stage, name });
        }

        // The check above has seen every name that is asked for here.
        let host = |name: &str| state.tensors.get(name).cloned().unwrap_or_default();
        let (precision, device) = (self.precision, &self.device);
        let read = |name: &str| {
            timed("upload", || {
                K::upload(host(name), precision.master(), device)
            })
        };
        for (statistics, counter) in self.statistics.iter_mut().zip(&counters) {
            statistics.mean = read(&format!("{}.running_mean", statistics.name))?;
            statistics.variance = read(&format!("{}.running_var", statistics.name))?;
            statistics.batches = state.counters.get(counter).copied().unwrap_or(0);
        }
        self.steps = 0;
        for (each, weight) in self.trained.iter_mut().zip(&mut self.weights) {
            let name = each.info.name.clone();
            *weight = each.set(host(&name), precision, device)?;
            for (slot, tensor) in self.optimizer.slots().iter().zip(&mut each.slots) {
                *tensor = match with_optimizer {
                    true => read(&StageState::optimizer_name(&name, slot))?,
                    false => K::filled(&each.info.shape, 0.0, precision.master(), device)?,
                };
            }
            let step = state.tensors.get(&StageState::optimizer_name(&name, STEP));
            if let Some(&step) = step.and_then(|step| step.data.first()) {
                self.steps = step as u64;
            }
        }
        for (slot, means) in [(DRIFT, &mut self.drift), (AVERAGE, &mut self.average)] {
            for (each, mean) in self.trained.iter().zip(&mut means.values) {
                let name = StageState::optimizer_name(&each.info.name, slot);
                let held = state.tensors.contains_key(&name);
                *mean = held.then(|| read(&name)).transpose()?;
            }
        }
        self.gradients = Gradients::none(self.weights.len());
        Ok(())
    }
}
