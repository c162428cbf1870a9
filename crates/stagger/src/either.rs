//! A stage of one of two engines, for runs whose stages have different ones.
//!
//! All stages of a run are of one type. Here this type is a choice of two, and so are its activations, weights and the like. What
//! a stage has made itself is of its own engine. Only activations and gradients come from other stages: one of the other engine
//! goes through host memory, once, when it [arrives](Stage::take_over).

use std::sync::Arc;

use stagger_engine::{
    AcrossReplicas, Activation, Distance, EngineError, HostTensor, Loss, MixedLabels, MseLoss,
    Profile, Score, Stage, StageState, UpdateReport,
};

/// One of two engines, or what belongs to it.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// Of the one.
    A(A),
    /// Of the other.
    B(B),
}

/// Does the same for either engine. In `$work`, `Own` makes what belongs to the stage's engine, `part` takes it apart, and `near`
/// brings an activation to the stage.
macro_rules! either {
    ($whole:expr, $one:ident => $work:expr) => {
        match $whole {
            Either::A($one) => {
                #[allow(unused_imports, reason = "not every call needs all of them")]
                use {Either::A as Own, near_a as near, part_a as part};
                $work
            }
            Either::B($one) => {
                #[allow(unused_imports, reason = "not every call needs all of them")]
                use {Either::B as Own, near_b as near, part_b as part};
                $work
            }
        }
    };
}

fn near_a<S: Stage, B: Activation>(
    stage: &S,
    activation: Either<S::Activation, B>,
) -> Result<S::Activation, EngineError> {
    match activation {
        Either::A(own) => Ok(own),
        Either::B(other) => stage.upload(other.to_host()?),
    }
}

fn near_b<A: Activation, S: Stage>(
    stage: &S,
    activation: Either<A, S::Activation>,
) -> Result<S::Activation, EngineError> {
    match activation {
        Either::A(other) => stage.upload(other.to_host()?),
        Either::B(own) => Ok(own),
    }
}

fn part_a<A, B>(whole: Either<A, B>) -> Result<A, EngineError> {
    match whole {
        Either::A(part) => Ok(part),
        Either::B(_) => Err(foreign()),
    }
}

fn part_b<A, B>(whole: Either<A, B>) -> Result<B, EngineError> {
    match whole {
        Either::A(_) => Err(foreign()),
        Either::B(part) => Ok(part),
    }
}

fn foreign() -> EngineError {
    EngineError::Backend {
        message: "a stage was given graphs, weights or statistics of a stage of another engine"
            .to_owned(),
    }
}

impl<A, B> Either<A, B> {
    fn as_ref(&self) -> Either<&A, &B> {
        either!(self, one => Own(one))
    }
}

impl<A: Activation, B: Activation> Activation for Either<A, B> {
    fn to_host(&self) -> Result<HostTensor, EngineError> {
        either!(self, tensor => tensor.to_host())
    }

    fn shape(&self) -> Vec<usize> {
        either!(self, tensor => tensor.shape())
    }

    fn size_bytes(&self) -> usize {
        either!(self, tensor => tensor.size_bytes())
    }
}

/// Every function is that of the stage's engine.
///
/// # Panics
/// `replace_weights` and `restore_statistics` panic when what they are given is of a stage of the other engine.
impl<A: Stage, B: Stage> Stage for Either<A, B> {
    type Activation = Either<A::Activation, B::Activation>;
    type Graph = Either<A::Graph, B::Graph>;
    type Pending = Either<A::Pending, B::Pending>;
    type Weights = Either<A::Weights, B::Weights>;
    type Position = Either<A::Position, B::Position>;
    type Statistics = Either<A::Statistics, B::Statistics>;

    fn upload(&self, host: HostTensor) -> Result<Self::Activation, EngineError> {
        Ok(either!(self, stage => Own(stage.upload(host)?)))
    }

    fn take_over(&self, activation: Self::Activation) -> Result<Self::Activation, EngineError> {
        Ok(either!(self, stage => Own(stage.take_over(near(stage, activation)?)?)))
    }

    fn normalize_across(&mut self, replicas: Arc<dyn AcrossReplicas>) -> Result<(), EngineError> {
        either!(self, stage => stage.normalize_across(replicas))
    }

    fn watch_stop(&mut self, is_stopping: Arc<dyn Fn() -> bool + Send + Sync>) {
        either!(self, stage => stage.watch_stop(is_stopping));
    }

    fn forward(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Activation, EngineError> {
        Ok(either!(self, stage => {
            let input = near(stage, input.clone())?;
            Own(stage.forward(&input, batch)?)
        }))
    }

    fn record(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<(Self::Activation, Self::Graph), EngineError> {
        Ok(either!(self, stage => {
            let input = near(stage, input.clone())?;
            let (output, graph) = stage.record(&input, batch)?;
            (Own(output), Own(graph))
        }))
    }

    fn recompute(
        &mut self,
        input: &Self::Activation,
        batch: usize,
    ) -> Result<Self::Graph, EngineError> {
        Ok(either!(self, stage => {
            let input = near(stage, input.clone())?;
            Own(stage.recompute(&input, batch)?)
        }))
    }

    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<Option<Self::Activation>, EngineError> {
        Ok(either!(self, stage => {
            let grad = near(stage, output_grad)?;
            stage.backward(part(graph)?, grad)?.map(Own)
        }))
    }

    fn backward_input(
        &mut self,
        graph: Self::Graph,
        output_grad: Self::Activation,
    ) -> Result<(Option<Self::Activation>, Self::Pending), EngineError> {
        Ok(either!(self, stage => {
            let grad = near(stage, output_grad)?;
            let (input_grad, pending) = stage.backward_input(part(graph)?, grad)?;
            (input_grad.map(Own), Own(pending))
        }))
    }

    fn backward_weights(&mut self, pending: Self::Pending) -> Result<(), EngineError> {
        either!(self, stage => stage.backward_weights(part(pending)?))
    }

    fn loss(
        &self,
        logits: &Self::Activation,
        labels: &[usize],
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError> {
        self.mixed_loss(logits, MixedLabels::plain(labels), share)
    }

    fn mixed_loss(
        &self,
        logits: &Self::Activation,
        labels: MixedLabels<'_>,
        share: f64,
    ) -> Result<Loss<Self::Activation>, EngineError> {
        Ok(either!(self, stage => {
            let logits = near(stage, logits.clone())?;
            let loss = stage.mixed_loss(&logits, labels, share)?;
            Loss {
                value: loss.value,
                grad: Own(loss.grad),
                correct_top1: loss.correct_top1,
                correct_top5: loss.correct_top5,
            }
        }))
    }

    fn mse_loss(
        &self,
        predicted: &Self::Activation,
        target: &Self::Activation,
    ) -> Result<MseLoss<Self::Activation>, EngineError> {
        Ok(either!(self, stage => {
            let (predicted, target) = (near(stage, predicted.clone())?, near(stage, target.clone())?);
            let MseLoss { value, grad } = stage.mse_loss(&predicted, &target)?;
            MseLoss { value, grad: Own(grad) }
        }))
    }

    fn scaled(
        &self,
        activation: Self::Activation,
        factor: f64,
    ) -> Result<Self::Activation, EngineError> {
        Ok(either!(self, stage => Own(stage.scaled(near(stage, activation)?, factor)?)))
    }

    fn scale_gradients(&mut self, factor: f64) -> Result<(), EngineError> {
        either!(self, stage => stage.scale_gradients(factor))
    }

    fn parameter_names(&self) -> Vec<String> {
        either!(self, stage => stage.parameter_names())
    }

    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        either!(self, stage => stage.export_gradients())
    }

    fn gradient_norms(&self) -> Result<Vec<f32>, EngineError> {
        either!(self, stage => stage.gradient_norms())
    }

    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        either!(self, stage => stage.import_gradients(values))
    }

    fn score(&self, logits: &Self::Activation, labels: &[usize]) -> Result<Score, EngineError> {
        either!(self, stage => {
            let logits = near(stage, logits.clone())?;
            stage.score(&logits, labels)
        })
    }

    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        either!(self, stage => stage.update(learning_rate))
    }

    fn weights(&self) -> Self::Weights {
        either!(self, stage => Own(stage.weights()))
    }

    fn replace_weights(&mut self, weights: Self::Weights) -> Self::Weights {
        either!(self, stage => match part(weights) {
            Ok(own) => Own(stage.replace_weights(own)),
            Err(error) => panic!("{error}"),
        })
    }

    fn predicted_weights(&self, coefficient: f64) -> Result<Self::Weights, EngineError> {
        Ok(either!(self, stage => Own(stage.predicted_weights(coefficient)?)))
    }

    fn track_drift(&mut self, keep: f64) {
        either!(self, stage => stage.track_drift(keep));
    }

    fn drifted_weights(&self, steps: f64) -> Result<Self::Weights, EngineError> {
        Ok(either!(self, stage => Own(stage.drifted_weights(steps)?)))
    }

    fn track_average(&mut self, keep: f64) {
        either!(self, stage => stage.track_average(keep));
    }

    fn averaged_weights(&self) -> Result<Option<Self::Weights>, EngineError> {
        Ok(either!(self, stage => stage.averaged_weights()?.map(Own)))
    }

    fn position(&self) -> Self::Position {
        either!(self, stage => Own(stage.position()))
    }

    fn position_of(&self, weights: &Self::Weights) -> Option<Self::Position> {
        Some(either!(self, stage => {
            let own = part(weights.as_ref()).ok()?;
            Own(stage.position_of(own)?)
        }))
    }

    fn distance(&self, from: &Self::Position) -> Result<Distance, EngineError> {
        either!(self, stage => stage.distance(part(from.as_ref())?))
    }

    fn synthesizer(&self) -> Result<Self, EngineError> {
        Ok(either!(self, stage => Own(stage.synthesizer()?)))
    }

    fn export_weights(&self, weights: &Self::Weights) -> Result<Vec<HostTensor>, EngineError> {
        either!(self, stage => stage.export_weights(part(weights.as_ref())?))
    }

    fn import_weights(&self, values: Vec<HostTensor>) -> Result<Self::Weights, EngineError> {
        Ok(either!(self, stage => Own(stage.import_weights(values)?)))
    }

    fn export_position(&self, position: &Self::Position) -> Result<Vec<HostTensor>, EngineError> {
        either!(self, stage => stage.export_position(part(position.as_ref())?))
    }

    fn import_position(&self, values: Vec<HostTensor>) -> Result<Self::Position, EngineError> {
        Ok(either!(self, stage => Own(stage.import_position(values)?)))
    }

    fn statistics(&self) -> Self::Statistics {
        either!(self, stage => Own(stage.statistics()))
    }

    fn restore_statistics(&mut self, statistics: Self::Statistics) {
        either!(self, stage => match part(statistics) {
            Ok(own) => stage.restore_statistics(own),
            Err(error) => panic!("{error}"),
        });
    }

    fn export_statistics(
        &self,
        statistics: &Self::Statistics,
    ) -> Result<Vec<HostTensor>, EngineError> {
        either!(self, stage => stage.export_statistics(part(statistics.as_ref())?))
    }

    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<Self::Statistics, EngineError> {
        Ok(either!(self, stage => Own(stage.import_statistics(values)?)))
    }

    fn discard_gradients(&mut self) {
        either!(self, stage => stage.discard_gradients());
    }

    fn evaluate(&mut self, input: &Self::Activation) -> Result<Self::Activation, EngineError> {
        Ok(either!(self, stage => {
            let input = near(stage, input.clone())?;
            Own(stage.evaluate(&input)?)
        }))
    }

    fn profile(&mut self) -> Option<Profile> {
        either!(self, stage => stage.profile())
    }

    fn export(&self) -> Result<StageState, EngineError> {
        either!(self, stage => stage.export())
    }

    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        either!(self, stage => stage.import(state))
    }
}

#[cfg(test)]
mod tests;
