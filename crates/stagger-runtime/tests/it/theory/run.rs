//! Runs of the real programs on the smooth network, which keep every version.

use std::sync::{Arc, Mutex};

use stagger_engine::{
    Activation, Distance, EngineError, HostTensor, Loss, MseLoss, Optimizer, Score, StageState,
    StepOf, UpdateReport, WeightDecay,
};
use stagger_plan::theory::Momentum;
use stagger_runtime::{FeedError, Feeds, Inputs, Labels, Place, Plan, sequential};
use stagger_schedule::{Horizon, Schedule};

use super::network::{self, Batch, SIZE, Stage, Vector, WIDTH, Weights};

/// What a run went through.
#[derive(Debug)]
pub struct History {
    /// `w^0, …, w^T`.
    pub weights: Vec<Weights>,
    /// `v^0, …, v^T`.
    pub velocity: Vec<Weights>,
    /// `g^0, …, g^{T−1}`, as the runtime has added them up.
    pub grads: Vec<Weights>,
}

/// Trains by a schedule, with this weight decay, on `batches[sequence[n]]`, n = 0, 1, ….
pub fn train(
    schedule: Schedule,
    momentum: Momentum,
    decay: f64,
    rate: f64,
    initial: &Weights,
    batches: &[Batch],
    sequence: &[usize],
) -> History {
    let optimizer = Optimizer::Momentum {
        beta: momentum.beta,
        nesterov: momentum.nesterov,
        weight_decay: WeightDecay::everywhere(decay),
    };
    let plan = Plan::new(
        schedule,
        Horizon::of(sequence.len()),
        optimizer,
        move |_| rate,
    );
    let order: Vec<Batch> = sequence.iter().map(|&at| batches[at].clone()).collect();
    let order = Arc::new(order);
    let feeds = Feeds {
        inputs: Box::new(Order(Arc::clone(&order))),
        labels: Box::new(Order(order)),
    };
    let kept: Vec<Kept> = initial.iter().map(|&weights| Kept::new(weights)).collect();
    let kept = Arc::new(Mutex::new(kept));
    let build = |place: Place, optimizer| {
        Ok(SmoothStage {
            stage: place.stage,
            optimizer,
            weights: initial[place.stage],
            velocity: [0.0; SIZE],
            grad: [0.0; SIZE],
            kept: Arc::clone(&kept),
        })
    };
    let outcome = sequential::run(&plan, build, feeds, |_| Ok(())).expect("the run succeeds");
    assert_eq!(outcome.version, sequence.len());
    let kept = kept.lock().expect("no stage has panicked");
    let versions = |of: fn(&Kept) -> &Vec<Stage>| -> Vec<Weights> {
        let version = |n: usize| kept.iter().map(|kept| of(kept)[n]).collect();
        (0..of(&kept[0]).len()).map(version).collect()
    };
    History {
        weights: versions(|kept| &kept.weights),
        velocity: versions(|kept| &kept.velocity),
        grads: versions(|kept| &kept.grads),
    }
}

/// The versions of one stage.
#[derive(Debug)]
struct Kept {
    weights: Vec<Stage>,
    velocity: Vec<Stage>,
    grads: Vec<Stage>,
}

impl Kept {
    fn new(weights: Stage) -> Self {
        Self {
            weights: vec![weights],
            velocity: vec![[0.0; SIZE]],
            grads: Vec::new(),
        }
    }
}

struct Order(Arc<Vec<Batch>>);

impl Inputs for Order {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let samples = &self.0[batch];
        let values = samples.iter().flat_map(|sample| sample.input);
        let data = values.map(|value| value as f32).collect();
        Ok(HostTensor::new(vec![samples.len(), WIDTH], data)?)
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

impl Labels for Order {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(self.0[batch].iter().map(|sample| sample.label).collect())
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(Vec::new())
    }
}

/// The rows of a batch.
#[derive(Clone)]
struct Rows(Vec<Vector>);

impl Activation for Rows {
    fn to_host(&self) -> Result<HostTensor, EngineError> {
        panic!("`f64` would lose digits in host memory");
    }

    fn shape(&self) -> Vec<usize> {
        vec![self.0.len(), WIDTH]
    }

    fn size_bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

/// A stage of the smooth network. What DSP does not ask of a stage, it does not do.
struct SmoothStage {
    stage: usize,
    optimizer: Optimizer,
    weights: Stage,
    velocity: Stage,
    grad: Stage,
    kept: Arc<Mutex<Vec<Kept>>>,
}

const NOT_ASKED: &str = "DSP does not ask for this";

impl stagger_engine::Stage for SmoothStage {
    type Activation = Rows;
    type Graph = (Stage, Rows);
    type Pending = ();
    type Weights = Stage;
    type Position = Stage;
    type Statistics = ();

    fn upload(&self, host: HostTensor) -> Result<Rows, EngineError> {
        let row = |row: &[f32]| std::array::from_fn(|i| f64::from(row[i]));
        Ok(Rows(host.data.chunks_exact(WIDTH).map(row).collect()))
    }

    fn forward(&mut self, input: &Rows, _batch: usize) -> Result<Rows, EngineError> {
        let rows = input.0.iter().map(|x| network::forward(&self.weights, x));
        Ok(Rows(rows.collect()))
    }

    fn record(&mut self, input: &Rows, batch: usize) -> Result<(Rows, Self::Graph), EngineError> {
        Ok((self.forward(input, batch)?, (self.weights, input.clone())))
    }

    fn backward(
        &mut self,
        (weights, input): Self::Graph,
        output_grad: Rows,
    ) -> Result<Option<Rows>, EngineError> {
        let rows = input.0.iter().zip(&output_grad.0);
        let input_grads = rows.map(|(x, grad)| {
            let (input_grad, grad) = network::pull_back(&weights, x, grad);
            for (sum, grad) in self.grad.iter_mut().zip(grad) {
                *sum += grad;
            }
            input_grad
        });
        let input_grads = Rows(input_grads.collect());
        Ok((self.stage > 0).then_some(input_grads))
    }

    fn backward_input(
        &mut self,
        _: Self::Graph,
        _: Rows,
    ) -> Result<(Option<Rows>, ()), EngineError> {
        unimplemented!("{NOT_ASKED}")
    }

    fn backward_weights(&mut self, (): ()) -> Result<(), EngineError> {
        unimplemented!("{NOT_ASKED}")
    }

    fn loss(&self, logits: &Rows, labels: &[usize], share: f64) -> Result<Loss<Rows>, EngineError> {
        let scale = share / labels.len() as f64;
        let rows = logits.0.iter().zip(labels);
        let losses: Vec<_> = rows
            .map(|(row, &label)| network::loss(row, label))
            .collect();
        let value = losses.iter().map(|loss| loss.0).sum::<f64>() / labels.len() as f64;
        let grads = losses.iter().map(|loss| loss.1.map(|grad| grad * scale));
        Ok(Loss {
            value: value as f32,
            grad: Rows(grads.collect()),
            correct_top1: 0,
            correct_top5: 0,
        })
    }

    fn update(&mut self, learning_rate: f64) -> Result<UpdateReport, EngineError> {
        let mut kept = self.kept.lock().expect("no stage has panicked");
        let kept = &mut kept[self.stage];
        kept.grads.push(self.grad);
        for i in 0..SIZE {
            let (weight, gradient) = (&mut self.weights[i], self.grad[i]);
            let slots = &mut self.velocity[i..=i];
            let of = StepOf {
                number: 1,
                learning_rate,
                dimensions: 2,
                trust_ratio: 1.0,
            };
            self.optimizer.reference_step(weight, gradient, slots, of);
        }
        kept.weights.push(self.weights);
        kept.velocity.push(self.velocity);
        self.grad = [0.0; SIZE];
        Ok(UpdateReport::default())
    }

    fn mixed_loss(
        &self,
        _logits: &Rows,
        _labels: stagger_engine::MixedLabels<'_>,
        _share: f64,
    ) -> Result<Loss<Rows>, EngineError> {
        unreachable!("no batch here is mixed")
    }

    fn mse_loss(&self, _predicted: &Rows, _target: &Rows) -> Result<MseLoss<Rows>, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn scaled(&self, _activation: Rows, _factor: f64) -> Result<Rows, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn scale_gradients(&mut self, _factor: f64) -> Result<(), EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn import_gradients(&mut self, _values: Vec<HostTensor>) -> Result<(), EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn score(&self, _logits: &Rows, _labels: &[usize]) -> Result<Score, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn weights(&self) -> Stage {
        self.weights
    }

    fn replace_weights(&mut self, weights: Stage) -> Stage {
        std::mem::replace(&mut self.weights, weights)
    }

    fn predicted_weights(&self, _coefficient: f64) -> Result<Stage, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn track_average(&mut self, _keep: f64) {
        unreachable!("no plan here asks for a mean")
    }

    fn averaged_weights(&self) -> Result<Option<Stage>, EngineError> {
        Ok(None)
    }

    fn track_drift(&mut self, _keep: f64) {
        unreachable!("{NOT_ASKED}")
    }

    fn drifted_weights(&self, _steps: f64) -> Result<Stage, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn position(&self) -> Stage {
        self.weights
    }

    fn position_of(&self, weights: &Stage) -> Option<Stage> {
        Some(*weights)
    }

    fn distance(&self, _from: &Stage) -> Result<Distance, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn synthesizer(&self) -> Result<Self, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn export_weights(&self, _weights: &Stage) -> Result<Vec<HostTensor>, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn import_weights(&self, _values: Vec<HostTensor>) -> Result<Stage, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn export_position(&self, _position: &Stage) -> Result<Vec<HostTensor>, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn import_position(&self, _values: Vec<HostTensor>) -> Result<Stage, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn statistics(&self) {}

    fn restore_statistics(&mut self, (): ()) {}

    fn export_statistics(&self, (): &()) -> Result<Vec<HostTensor>, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn import_statistics(&self, _values: Vec<HostTensor>) -> Result<(), EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn discard_gradients(&mut self) {
        unreachable!("{NOT_ASKED}")
    }

    fn evaluate(&mut self, _input: &Rows) -> Result<Rows, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn export(&self) -> Result<StageState, EngineError> {
        unreachable!("{NOT_ASKED}")
    }

    fn import(&mut self, _state: &StageState) -> Result<(), EngineError> {
        unreachable!("{NOT_ASKED}")
    }
}
