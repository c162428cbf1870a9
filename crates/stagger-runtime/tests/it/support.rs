//! A toy engine and what a run of it leaves behind.
#![cfg_attr(
    feature = "shuttle",
    allow(dead_code, reason = "the model check uses only a part")
)]

pub mod oracle;
pub mod toy;

use std::sync::Arc;

use stagger_engine::{
    AcrossReplicas, Activation, Distance, EngineError, HostTensor, Loss, MseLoss, Optimizer, Score,
    Stage, StageState, UpdateReport, WeightDecay,
};
use stagger_runtime::{Cargo, FeedError, Feeds, Inputs, Labels, Place, Plan};
use stagger_schedule::{Horizon, Schedule};

#[cfg(not(feature = "shuttle"))]
pub use stagger_conformance::ladder::{Delays, Trace};
use toy::{Momentum, Rows, WIDTH, Weights};

/// As the ladder does; but the model checker notices deadlocks and endless runs itself.
pub fn watch_for_hangs() {
    #[cfg(not(feature = "shuttle"))]
    stagger_conformance::ladder::watch_for_hangs();
}

/// Rows in host memory.
#[derive(Clone, Debug)]
pub struct ToyTensor(pub Rows);

impl Activation for ToyTensor {
    fn to_host(&self) -> Result<HostTensor, EngineError> {
        HostTensor::new(self.shape(), self.0.concat())
    }

    fn shape(&self) -> Vec<usize> {
        vec![self.0.len(), WIDTH]
    }

    fn size_bytes(&self) -> usize {
        self.0.len() * WIDTH * size_of::<f32>()
    }
}

/// What links of toy stages carry.
pub type ToyCargo = Cargo<ToyTensor>;

/// Stage k of the toy network. Keeps its graph as (weights of the recording, input).
pub struct ToyStage {
    first: bool,
    momentum: Momentum,
    weights: Weights,
    velocity: Weights,
    grad: Weights,
    /// A running mean of the inputs, which stands for running statistics.
    seen: f32,
    /// What is kept of the drift from update to update, where it is tracked.
    drift_keep: Option<f64>,
    drift: Weights,
    /// Whether outputs have their mean over the batch taken off, which stands for batch normalisation.
    centred: bool,
    /// The replicas that have the other rows of a batch.
    replicas: Option<Arc<dyn AcrossReplicas>>,
}

/// Where a state holds the drift.
const DRIFT: &str = "optimizer.weights.drift";

/// Where a state holds the running mean of the inputs.
const SEEN: &str = "running_mean";

/// Where a state holds the momentum.
const VELOCITY: &str = "optimizer.weights.momentum_buffer";

fn parameters(values: &Weights) -> Result<HostTensor, EngineError> {
    HostTensor::new(vec![values.len()], values.to_vec())
}

fn only(values: Vec<HostTensor>) -> Weights {
    let [values] = values.try_into().expect("one tensor");
    values.data.try_into().expect("the stage's parameters")
}

impl ToyStage {
    /// The stage of a place, with momentum SGD.
    pub fn build(place: Place, optimizer: Optimizer) -> Result<Self, EngineError> {
        let Optimizer::Momentum { beta, nesterov, .. } = optimizer else {
            panic!("toys need momentum, not {optimizer:?}");
        };
        Ok(Self::new(place.stage, Momentum { beta, nesterov }))
    }

    /// The same with every output's mean over the batch taken off.
    pub fn build_centred(place: Place, optimizer: Optimizer) -> Result<Self, EngineError> {
        Ok(Self {
            centred: true,
            ..Self::build(place, optimizer)?
        })
    }

    /// The mean of rows over the whole batch, of which these are a share if there are replicas.
    fn mean(&self, rows: &Rows) -> Result<[f32; WIDTH], EngineError> {
        let own = toy::sums(rows);
        Ok(toy::mean(&match &self.replicas {
            Some(replicas) => replicas.gather(own)?,
            None => vec![own],
        }))
    }

    /// Takes the mean off, where outputs are centred: of outputs, and of their gradients too.
    fn centre(&self, rows: Rows) -> Result<Rows, EngineError> {
        match self.centred {
            true => Ok(toy::centred(&rows, self.mean(&rows)?)),
            false => Ok(rows),
        }
    }

    fn new(stage: usize, momentum: Momentum) -> Self {
        let zero = [0.0; WIDTH * WIDTH + WIDTH];
        let weights = toy::initial_weights(stage);
        Self {
            first: stage == 0,
            momentum,
            weights,
            velocity: zero,
            grad: zero,
            seen: 0.0,
            drift_keep: None,
            drift: zero,
            centred: false,
            replicas: None,
        }
    }
}

/// A label that makes the loss of its share NaN.
pub const SPOILT: usize = usize::MAX;

impl Stage for ToyStage {
    type Activation = ToyTensor;
    type Graph = (Weights, Rows);
    type Pending = Weights;
    type Weights = Weights;
    type Position = Weights;
    type Statistics = f32;

    fn upload(&self, host: HostTensor) -> Result<ToyTensor, EngineError> {
        let row = |row: &[f32]| std::array::from_fn(|i| row[i]);
        Ok(ToyTensor(host.data.chunks_exact(WIDTH).map(row).collect()))
    }

    fn normalize_across(&mut self, replicas: Arc<dyn AcrossReplicas>) -> Result<(), EngineError> {
        self.replicas = Some(replicas);
        // Else there would be nothing to do with them.
        self.centred = true;
        Ok(())
    }

    fn forward(&mut self, input: &ToyTensor, _batch: usize) -> Result<ToyTensor, EngineError> {
        let outputs = self.centre(toy::forward(&self.weights, &input.0))?;
        Ok(ToyTensor(outputs))
    }

    fn record(
        &mut self,
        input: &ToyTensor,
        batch: usize,
    ) -> Result<(ToyTensor, Self::Graph), EngineError> {
        let mean = match self.centred {
            true => self.mean(&input.0)?.iter().sum::<f32>(),
            false => input.0.iter().flatten().sum::<f32>() / input.0.len().max(1) as f32,
        };
        self.seen += 0.1 * (mean - self.seen);
        Ok((self.forward(input, batch)?, (self.weights, input.0.clone())))
    }

    fn backward(
        &mut self,
        graph: Self::Graph,
        output_grad: ToyTensor,
    ) -> Result<Option<ToyTensor>, EngineError> {
        let (input_grad, pending) = self.backward_input(graph, output_grad)?;
        self.backward_weights(pending)?;
        Ok(input_grad)
    }

    fn backward_input(
        &mut self,
        (weights, inputs): Self::Graph,
        output_grad: ToyTensor,
    ) -> Result<(Option<ToyTensor>, Weights), EngineError> {
        let output_grads = self.centre(output_grad.0)?;
        let (input_grads, weight_grad) = toy::pull_back(&weights, &inputs, &output_grads);
        let input_grad = (!self.first).then_some(ToyTensor(input_grads));
        Ok((input_grad, weight_grad))
    }

    fn backward_weights(&mut self, pending: Weights) -> Result<(), EngineError> {
        for (sum, grad) in self.grad.iter_mut().zip(pending) {
            *sum += grad;
        }
        Ok(())
    }

    fn loss(
        &self,
        logits: &ToyTensor,
        labels: &[usize],
        share: f64,
    ) -> Result<Loss<ToyTensor>, EngineError> {
        let (value, grads) = toy::loss(&logits.0, labels);
        let value = match labels.contains(&SPOILT) {
            true => f32::NAN,
            false => value,
        };
        Ok(Loss {
            value,
            grad: ToyTensor(toy::scaled(grads, share)),
            correct_top1: 0,
            correct_top5: 0,
        })
    }

    fn mixed_loss(
        &self,
        _logits: &ToyTensor,
        _labels: stagger_engine::MixedLabels<'_>,
        _share: f64,
    ) -> Result<Loss<ToyTensor>, EngineError> {
        unreachable!("no batch here is mixed")
    }

    fn mse_loss(
        &self,
        predicted: &ToyTensor,
        target: &ToyTensor,
    ) -> Result<MseLoss<ToyTensor>, EngineError> {
        if predicted.shape() != target.shape() {
            let (predicted, target) = (predicted.shape(), target.shape());
            return Err(EngineError::ShapeMismatch { predicted, target });
        }
        let (value, grads) = toy::mse_loss(&predicted.0, &target.0);
        let grad = ToyTensor(grads);
        Ok(MseLoss { value, grad })
    }

    fn scaled(&self, activation: ToyTensor, factor: f64) -> Result<ToyTensor, EngineError> {
        Ok(ToyTensor(toy::scaled(activation.0, factor)))
    }

    fn scale_gradients(&mut self, factor: f64) -> Result<(), EngineError> {
        if factor != 1.0 {
            self.grad = self.grad.map(|value| value * factor as f32);
        }
        Ok(())
    }

    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        Ok(vec![parameters(&self.grad)?])
    }

    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        self.grad = only(values);
        Ok(())
    }

    fn score(&self, logits: &ToyTensor, labels: &[usize]) -> Result<Score, EngineError> {
        let loss = toy::loss(&logits.0, labels).0;
        Ok(Score {
            loss,
            correct_top1: 0,
            correct_top5: 0,
        })
    }

    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        let before = self.weights;
        self.momentum.step(
            &mut self.weights,
            &mut self.velocity,
            &self.grad,
            learning_rate,
        );
        if let Some(keep) = self.drift_keep {
            toy::follow(&mut self.drift, keep, &before, &self.weights);
        }
        self.grad = [0.0; WIDTH * WIDTH + WIDTH];
        Ok(UpdateReport::default())
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    fn replace_weights(&mut self, weights: Weights) -> Weights {
        std::mem::replace(&mut self.weights, weights)
    }

    fn predicted_weights(&self, coefficient: f64) -> Result<Weights, EngineError> {
        Ok(toy::displaced(&self.weights, &self.velocity, -coefficient))
    }

    fn track_average(&mut self, _keep: f64) {
        unreachable!("no plan here asks for a mean")
    }

    fn averaged_weights(&self) -> Result<Option<Weights>, EngineError> {
        Ok(None)
    }

    fn track_drift(&mut self, keep: f64) {
        self.drift_keep = Some(keep);
    }

    fn drifted_weights(&self, steps: f64) -> Result<Weights, EngineError> {
        if self.drift_keep.is_none() {
            let stage = "toy".to_owned();
            return Err(EngineError::NoDrift { stage });
        }
        Ok(toy::displaced(&self.weights, &self.drift, -steps))
    }

    fn position(&self) -> Weights {
        self.weights
    }

    fn position_of(&self, weights: &Weights) -> Option<Weights> {
        Some(*weights)
    }

    fn distance(&self, from: &Weights) -> Result<Distance, EngineError> {
        let (moved, norm) = toy::distance(&self.weights, from);
        Ok(Distance { moved, norm })
    }

    /// Any function will do.
    fn synthesizer(&self) -> Result<Self, EngineError> {
        Ok(Self {
            first: true,
            ..Self::new(17, self.momentum)
        })
    }

    fn export_weights(&self, weights: &Weights) -> Result<Vec<HostTensor>, EngineError> {
        Ok(vec![parameters(weights)?])
    }

    fn import_weights(&self, values: Vec<HostTensor>) -> Result<Weights, EngineError> {
        Ok(only(values))
    }

    fn export_position(&self, position: &Weights) -> Result<Vec<HostTensor>, EngineError> {
        self.export_weights(position)
    }

    fn import_position(&self, values: Vec<HostTensor>) -> Result<Weights, EngineError> {
        self.import_weights(values)
    }

    fn statistics(&self) -> f32 {
        self.seen
    }

    fn restore_statistics(&mut self, statistics: f32) {
        self.seen = statistics;
    }

    fn export_statistics(&self, statistics: &f32) -> Result<Vec<HostTensor>, EngineError> {
        Ok(vec![HostTensor::new(vec![1], vec![*statistics])?])
    }

    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<f32, EngineError> {
        Ok(values[0].data[0])
    }

    fn discard_gradients(&mut self) {
        self.grad = [0.0; WIDTH * WIDTH + WIDTH];
    }

    fn evaluate(&mut self, input: &ToyTensor) -> Result<ToyTensor, EngineError> {
        // Only one replica evaluates, and it has the whole batch.
        Ok(ToyTensor(toy::forward(&self.weights, &input.0)))
    }

    fn export(&self) -> Result<StageState, EngineError> {
        let mut state = StageState::default();
        let mut put = |name: &str, values| -> Result<(), EngineError> {
            state.tensors.insert(name.into(), parameters(values)?);
            Ok(())
        };
        put("weights", &self.weights)?;
        put(VELOCITY, &self.velocity)?;
        let seen = HostTensor::new(vec![1], vec![self.seen])?;
        if self.drift_keep.is_some() {
            put(DRIFT, &self.drift)?;
        }
        state.tensors.insert(SEEN.into(), seen);
        Ok(state)
    }

    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        self.weights.copy_from_slice(&state.tensors["weights"].data);
        self.velocity.copy_from_slice(&state.tensors[VELOCITY].data);
        self.seen = state.tensors[SEEN].data[0];
        match state.tensors.get(DRIFT) {
            Some(drift) if self.drift_keep.is_some() => self.drift.copy_from_slice(&drift.data),
            _ => self.drift.fill(0.0),
        }
        Ok(())
    }
}

/// The toy data, at both ends.
pub struct ToyFeed;

impl Inputs for ToyFeed {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let rows = toy::batch_inputs(batch);
        Ok(HostTensor::new(vec![rows.len(), WIDTH], rows.concat())?)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        let more = batch < oracle::EVALUATION_BATCHES;
        more.then(|| Inputs::train(self, oracle::EVALUATION_OFFSET + batch))
            .transpose()
    }
}

impl Labels for ToyFeed {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(toy::batch_labels(batch))
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(toy::batch_labels(oracle::EVALUATION_OFFSET + batch))
    }
}

pub fn feeds() -> Feeds {
    watch_for_hangs();
    Feeds {
        inputs: Box::new(ToyFeed),
        labels: Box::new(ToyFeed),
    }
}

/// A plan that evaluates at the given versions and snapshots at its end.
pub fn plan(schedule: &str, stages: usize, batches: usize, evaluate_at: &[usize]) -> Plan {
    let schedule = Schedule::parse(schedule, Some(stages)).expect("a valid schedule");
    let horizon = Horizon {
        batches,
        evaluate_at: evaluate_at.to_vec(),
        snapshot_at: vec![batches],
        ..Horizon::default()
    };
    Plan::new(schedule, horizon, optimizer(), toy::learning_rate)
}

/// The heavy ball.
pub fn optimizer() -> Optimizer {
    Optimizer::Momentum {
        beta: toy::MOMENTUM,
        nesterov: 0.0,
        weight_decay: WeightDecay::default(),
    }
}

/// The weights among the states that a run leaves.
pub fn toy_weights(states: &[StageState]) -> Vec<Weights> {
    let weights = |state: &StageState| std::array::from_fn(|i| state.tensors["weights"].data[i]);
    states.iter().map(weights).collect()
}
