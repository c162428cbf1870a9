//! Which weights a pass runs at, how far they have moved since, and what is done about it.

use stagger_engine::{Distance, Stage};
use stagger_schedule::{BackwardWeights, Damping, Discrepancy, ForwardWeights, Prediction};

use super::Worker;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::stage_optimizer::momentum;

/// The schedule's corrections, as one stage applies them.
pub(super) struct Versions<S: Stage> {
    forward: ForwardWeights,
    backward: BackwardWeights,
    prediction: Option<Prediction>,
    discrepancy: Option<Discrepancy>,
    damping: Option<Damping>,
    /// `β` of the optimizer; predictions need it.
    momentum: f64,
    /// Batches between two that the gap is measured of; 0 for none.
    gap_every: usize,
    /// The weights before the last update, where forwards need them.
    pub(super) previous: Option<S::Weights>,
    /// Mean length of an update, where damping needs it.
    pub(super) step: MeanStep,
}

/// A running mean over the last hundred updates or so: learning rates change.
#[derive(Clone, Copy, Default)]
pub(super) struct MeanStep {
    pub(super) mean: f64,
    pub(super) steps: u32,
}

impl MeanStep {
    fn add(&mut self, length: f64) {
        self.steps = (self.steps + 1).min(100);
        self.mean += (length - self.mean) / f64::from(self.steps);
    }
}

impl<S: Stage> Versions<S> {
    pub fn new(plan: &Plan, stage: usize) -> Self {
        let (policy, corrections) = (plan.schedule.policy(stage), plan.schedule.corrections());
        Self {
            forward: policy.forward_weights,
            backward: policy.backward_weights,
            prediction: corrections.prediction,
            discrepancy: corrections.discrepancy,
            // Without staleness nothing moves between forward and backward.
            damping: corrections.damping.filter(|_| policy.staleness > 0),
            momentum: momentum(&plan.optimizer),
            gap_every: if policy.staleness > 0 {
                plan.gap_every
            } else {
                0
            },
            previous: None,
            step: MeanStep::default(),
        }
    }

    /// The moving average of updates that the stage has to keep, if any: what remains of it per update.
    pub fn drift(&self, staleness: usize) -> Option<f64> {
        let discrepancy = self.discrepancy.as_ref()?;
        (self.backward == BackwardWeights::Corrected && staleness > 0)
            .then(|| discrepancy.keep(staleness))
    }
}

impl<S: Stage> Worker<S> {
    /// The weights that the method wants for a forward of `batch`; `None` for the current ones.
    pub(super) fn forward_weights(&self, batch: usize) -> Result<Option<S::Weights>, Fault> {
        match self.versions.forward {
            ForwardWeights::Current => Ok(None),
            ForwardWeights::Predicted => self.predicted(batch),
            ForwardWeights::Previous => self.previous(batch),
        }
    }

    /// The version that a forward of `batch` belongs to: that of its weights, or that which they were predicted from.
    pub(super) fn forward_version(&self, batch: usize) -> usize {
        match self.versions.forward {
            ForwardWeights::Current | ForwardWeights::Predicted => self.version,
            ForwardWeights::Previous => batch.saturating_sub(1).min(self.version),
        }
    }

    /// The weights to recompute at, of a batch whose forward ran at `forward_version`; `None` for the current ones.
    pub(super) fn backward_weights(
        &self,
        forward_version: usize,
        stashed: Option<S::Weights>,
    ) -> Result<Option<S::Weights>, Fault> {
        let steps = self.version - forward_version;
        Ok(match self.versions.backward {
            BackwardWeights::Stashed => stashed,
            BackwardWeights::Corrected if steps > 0 && self.versions.discrepancy.is_some() => {
                Some(self.stage.drifted_weights(steps as f64)?)
            }
            BackwardWeights::Current | BackwardWeights::Corrected => None,
        })
    }

    /// Runs a pass at other weights than the current ones, if there are any.
    pub(super) fn at<R>(
        &mut self,
        weights: Option<S::Weights>,
        pass: impl FnOnce(&mut Self) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let Some(weights) = weights else {
            return pass(self);
        };
        let current = self.stage.replace_weights(weights);
        let result = pass(self);
        self.stage.replace_weights(current);
        result
    }

    /// Where the weights will be at the backward of `batch`: exactly the batches before it are updated by then.
    fn predicted(&self, batch: usize) -> Result<Option<S::Weights>, Fault> {
        let steps = batch - self.version;
        let Some(prediction) = self.versions.prediction.filter(|_| steps > 0) else {
            return Ok(None);
        };
        let rate = self.rate.at(self.version);
        let coefficient = prediction.coefficient(rate, steps, self.versions.momentum);
        Ok(Some(self.stage.predicted_weights(coefficient)?))
    }

    /// `w^max(batch−1, 0)`, which is the present version or the one before it.
    fn previous(&self, batch: usize) -> Result<Option<S::Weights>, Fault> {
        match self.version - self.forward_version(batch) {
            0 => Ok(None),
            1 => Ok(self.versions.previous.clone()),
            _ => Err(Fault::Program {
                what: "a forward at weights older than the previous ones",
            }),
        }
    }

    /// The weights of a forward, to be kept for its backward when that is to run at them too.
    pub(super) fn weights_to_stash(&self) -> Option<S::Weights> {
        (self.versions.backward == BackwardWeights::Stashed).then(|| self.stage.weights())
    }

    /// The position of a forward of `batch` at these weights, when its gap is to be known. The first batch is not sampled:
    /// nothing has moved by its backward.
    pub(super) fn position_to_keep(
        &self,
        batch: usize,
        weights: Option<&S::Weights>,
    ) -> Option<S::Position> {
        let Versions {
            gap_every, damping, ..
        } = &self.versions;
        let sampled = *gap_every > 0 && batch > 0 && (batch + 1).is_multiple_of(*gap_every);
        if !sampled && damping.is_none() {
            return None;
        }
        match weights {
            Some(weights) => self.stage.position_of(weights),
            None => Some(self.stage.position()),
        }
    }

    /// Measures how far the weights have moved since the forward, as a share of their norm.
    pub(super) fn measure_gap(&mut self, from: Option<S::Position>) -> Result<Option<f64>, Fault> {
        let Some(from) = from else {
            return Ok(None);
        };
        let Distance { moved, norm } = self.stage.distance(&from)?;
        self.batch.largest_gap = self.batch.largest_gap.max(moved);
        Ok(Some(if norm > 0.0 { moved / norm } else { 0.0 }))
    }

    /// Makes an update without a step: drops the gradients, and puts the running statistics back where they were kept.
    pub(super) fn skip_step(&mut self, statistics_before: Option<S::Statistics>) {
        self.stage.discard_gradients();
        if let Some(before) = statistics_before {
            self.stage.restore_statistics(before);
        }
        if self.versions.forward == ForwardWeights::Previous {
            self.versions.previous = Some(self.stage.weights());
        }
    }

    /// Takes an optimizer step, with the corrections around it. `gap` is the largest of the batch, where it was measured.
    pub(super) fn step(&mut self, version: usize, gap: f64) -> Result<(), Fault> {
        let rate = self.rate.at(version);
        if self.versions.forward == ForwardWeights::Previous {
            self.versions.previous = Some(self.stage.weights());
        }
        let Some(damping) = self.versions.damping else {
            self.stage.update(rate)?;
            return Ok(());
        };
        if self.versions.step.mean > 0.0 {
            let factor = damping.factor(gap, self.versions.step.mean);
            self.stage.scale_gradients(factor)?;
        }
        let before = self.stage.position();
        self.stage.update(rate)?;
        let length = self.stage.distance(&before)?.moved;
        self.versions.step.add(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MeanStep;

    #[test]
    fn the_mean_step_follows_slow_changes() {
        let mut step = MeanStep::default();
        for length in [1.0, 3.0] {
            step.add(length);
        }
        assert_eq!(step.mean, 2.0);
        for _ in 0..2000 {
            step.add(10.0);
        }
        assert!((step.mean - 10.0).abs() < 1e-6, "{}", step.mean);
    }
}
