//! Weights of other versions: kept, predicted, extrapolated back, and how far they are.

use std::fmt;

use crate::error::EngineError;
use crate::layered::kernels::Kernels;
use crate::layered::parameters::Trained;
use crate::layered::timing::timed;
use crate::precision::Precision;
use crate::stage::Distance;
use crate::tensor::HostTensor;

use super::LayeredStage;

/// The slot of [`crate::Optimizer::slots`] that predictions follow.
const MOMENTUM: &str = "momentum_buffer";

/// Handles of all parameters of a stage at one version, in the format of its passes.
pub struct Weights<K: Kernels>(Vec<K::Tensor>);

impl<K: Kernels> Weights<K> {
    /// Weights from tensors of the library, in the order of the stage's parameters and with their shapes.
    pub fn from_tensors(tensors: Vec<K::Tensor>) -> Self {
        Self(tensors)
    }

    /// Of weights that are not rounded.
    pub(super) fn exact_position(&self) -> Position<K> {
        Position(self.0.clone())
    }

    pub(super) fn into_tensors(self) -> Vec<K::Tensor> {
        self.0
    }

    pub(super) fn download(&self) -> Result<Vec<HostTensor>, EngineError> {
        self.0
            .iter()
            .map(|tensor| timed("download", || K::download(tensor)))
            .collect()
    }
}

impl<K: Kernels> Clone for Weights<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Kernels> fmt::Debug for Weights<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Weights").field(&self.0).finish()
    }
}

/// Handles of the exact parameters of a stage at one version.
pub struct Position<K: Kernels>(Vec<K::Tensor>);

impl<K: Kernels> fmt::Debug for Position<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Position").field(&self.0).finish()
    }
}

impl<K: Kernels> Position<K> {
    pub(super) fn download(&self) -> Result<Vec<HostTensor>, EngineError> {
        self.0
            .iter()
            .map(|tensor| timed("download", || K::download(tensor)))
            .collect()
    }
}

/// A running mean over updates, of how the weights move or of the weights themselves.
pub(super) struct RunningMean<K: Kernels> {
    /// Weight of the past in it; `None` when it is not tracked.
    keep: Option<f64>,
    /// Of each parameter; `None` before the first update.
    pub(super) values: Vec<Option<K::Tensor>>,
}

impl<K: Kernels> RunningMean<K> {
    pub(super) fn untracked() -> Self {
        let (keep, values) = (None, Vec::new());
        Self { keep, values }
    }

    pub(super) fn track(&mut self, keep: f64, parameters: usize) {
        self.keep = Some(keep);
        self.values.resize(parameters, None);
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.keep.is_some()
    }
}

impl<K: Kernels> LayeredStage<K> {
    /// Parameters with the exact value of each.
    fn exact(&self) -> impl Iterator<Item = (&Trained<K>, &K::Tensor)> {
        let each = self.trained.iter().zip(&self.weights);
        each.map(|(trained, weight)| (trained, trained.master.as_ref().unwrap_or(weight)))
    }

    /// `w + factor·d` for passes, from the exact weights; displacements come with their factors.
    fn displaced<'a>(
        &self,
        displacements: impl Iterator<Item = Option<(&'a K::Tensor, f64)>>,
    ) -> Result<Weights<K>, EngineError> {
        let each = self.exact().zip(&self.weights).zip(displacements);
        let weights = each.map(|(((trained, exact), weight), displacement)| {
            let Some((displacement, factor)) = displacement else {
                return Ok(weight.clone());
            };
            let moved = timed("weighted sum", || {
                K::blend(exact.clone(), 1.0, displacement.clone(), factor)
            })?;
            if trained.master.is_some() {
                K::cast(&moved, self.precision)
            } else {
                Ok(moved)
            }
        });
        Ok(Weights(weights.collect::<Result<_, _>>()?))
    }

    pub(super) fn predict(&self, coefficient: f64) -> Result<Weights<K>, EngineError> {
        let mut slots = self.optimizer.slots().iter();
        let Some(slot) = slots.position(|&slot| slot == MOMENTUM) else {
            let (stage, optimizer) = (self.label.clone(), self.optimizer.name());
            return Err(EngineError::NoMomentum { stage, optimizer });
        };
        let velocities = self.trained.iter().map(|trained| {
            let moves = coefficient != 0.0;
            let velocity = trained.slots.get(slot).filter(|_| moves)?;
            Some((velocity, -coefficient * trained.rate_factor))
        });
        self.displaced(velocities)
    }

    /// The mean of the weights as passes take it.
    pub(super) fn average(&self) -> Result<Option<Weights<K>>, EngineError> {
        let Some(means) = (self.average.values.iter().cloned()).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        if !self.average.is_tracked() {
            return Ok(None);
        }
        let each = self.trained.iter().zip(means);
        let weights = each.map(|(trained, mean)| match trained.master {
            Some(_) => K::cast(&mean, self.precision),
            None => Ok(mean),
        });
        Ok(Some(Weights(weights.collect::<Result<_, _>>()?)))
    }

    pub(super) fn extrapolate_back(&self, steps: f64) -> Result<Weights<K>, EngineError> {
        if !self.drift.is_tracked() {
            let stage = self.label.clone();
            return Err(EngineError::NoDrift { stage });
        }
        let moves = steps != 0.0;
        let drifts = self.drift.values.iter();
        self.displaced(drifts.map(|drift| Some((drift.as_ref().filter(|_| moves)?, -steps))))
    }

    /// Weights for passes, of values that [`Weights::download`] gave.
    pub(super) fn upload_weights(
        &self,
        values: Vec<HostTensor>,
    ) -> Result<Weights<K>, EngineError> {
        let precision = |trained: &Trained<K>| match trained.master {
            Some(_) => self.precision,
            None => self.precision.master(),
        };
        Ok(Weights(self.upload_all(values, precision)?))
    }

    /// A position, of values that [`Position::download`] gave.
    pub(super) fn upload_position(
        &self,
        values: Vec<HostTensor>,
    ) -> Result<Position<K>, EngineError> {
        let values = self.upload_all(values, |_| self.precision.master())?;
        Ok(Position(values))
    }

    pub(super) fn upload_all(
        &self,
        values: Vec<HostTensor>,
        precision: impl Fn(&Trained<K>) -> Precision,
    ) -> Result<Vec<K::Tensor>, EngineError> {
        let fit = |(trained, value): (&Trained<K>, &HostTensor)| trained.info.shape == value.shape;
        let (expected, found) = (self.trained.len(), values.len());
        if expected != found || !self.trained.iter().zip(&values).all(fit) {
            let stage = self.label.clone();
            return Err(EngineError::ForeignWeights {
                stage,
                expected,
                found,
            });
        }
        let each = self.trained.iter().zip(values);
        each.map(|(trained, value)| {
            value.check()?;
            timed("upload", || {
                K::upload(value, precision(trained), &self.device)
            })
        })
        .collect()
    }

    pub(super) fn exact_position(&self) -> Position<K> {
        Position(self.exact().map(|(_, exact)| exact.clone()).collect())
    }

    pub(super) fn distance_from(&self, from: &Position<K>) -> Result<Distance, EngineError> {
        let (expected, found) = (self.weights.len(), from.0.len());
        let weights: Vec<&K::Tensor> = self.exact().map(|(_, exact)| exact).collect();
        let fit = |(a, b): (&&K::Tensor, &K::Tensor)| K::shape(a) == K::shape(b);
        if expected != found || !weights.iter().zip(&from.0).all(fit) {
            let stage = self.label.clone();
            return Err(EngineError::ForeignPosition {
                stage,
                expected,
                found,
            });
        }
        let differences = weights
            .iter()
            .zip(&from.0)
            .map(|(&now, then)| {
                timed("weighted sum", || {
                    K::blend(now.clone(), 1.0, then.clone(), -1.0)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let differences: Vec<&K::Tensor> = differences.iter().collect();
        Ok(Distance {
            moved: timed("clipping", || K::square_sum(&differences))?.sqrt(),
            norm: timed("clipping", || K::square_sum(&weights))?.sqrt(),
        })
    }

    /// What [`Self::after_update`] needs of the weights that an update replaces.
    pub(super) fn before_update(&self) -> Option<Position<K>> {
        self.drift.is_tracked().then(|| self.exact_position())
    }

    /// Follows the weights with their drift and their mean.
    pub(super) fn after_update(&mut self, before: Option<Position<K>>) -> Result<(), EngineError> {
        if let Some(keep) = self.average.keep {
            let now = self.exact_position();
            for (average, now) in self.average.values.iter_mut().zip(now.0) {
                *average = Some(match average.take() {
                    Some(mean) => timed("weighted sum", || K::blend(mean, keep, now, 1.0 - keep))?,
                    None => now,
                });
            }
        }
        let (Some(keep), Some(before)) = (self.drift.keep, before) else {
            return Ok(());
        };
        let now = self.exact_position();
        let each = self.drift.values.iter_mut().zip(now.0).zip(before.0);
        for ((drift, now), before) in each {
            // The difference first: it is small beside the weights, and exact.
            let step = timed("weighted sum", || K::blend(now, 1.0, before, -1.0))?;
            *drift = Some(match drift.take() {
                Some(drift) => timed("weighted sum", || K::blend(drift, keep, step, 1.0 - keep))?,
                None => timed("clipping", || K::scale(step, 1.0 - keep))?,
            });
        }
        Ok(())
    }
}
