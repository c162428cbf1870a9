//! A small network with one of every kind of layer, and data for it.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{HostTensor, Optimizer, StageSpec, WeightDecay};
use stagger_model::{Balance, Block, Cut, Layer, Model};
use stagger_runtime::{FeedError, Feeds, Inputs, Labels, Plan};
use stagger_schedule::{Horizon, Schedule};

use crate::Engine;
use crate::fixtures::stage;

pub const BATCHES: usize = 9;
const CLASSES: usize = 3;
const EVALUATE_AT: [usize; 2] = [4, BATCHES];

/// Six blocks, so that up to six stages can be cut.
pub fn model() -> Model {
    let conv_bn = |name: &str, from: usize, to: usize, stride: usize| {
        vec![
            Layer::conv3x3(format!("{name}.conv"), from, to, stride),
            Layer::batch_norm(format!("{name}.bn"), to),
            Layer::Relu,
        ]
    };
    let residual = |name: &str| {
        let mut body = conv_bn(name, 4, 4, 1);
        body.pop();
        vec![
            Layer::Residual {
                body,
                shortcut: vec![],
            },
            Layer::Relu,
        ]
    };
    let dropout = Layer::Dropout {
        name: "drop".into(),
        probability: 0.25,
    };
    let mut strided = conv_bn("down", 4, 6, 2);
    strided.push(dropout);
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("linear", 6, CLASSES),
    ];
    let blocks = vec![
        Block::new("stem", conv_bn("stem", 3, 4, 1)),
        Block::new("res1", residual("res1")),
        Block::new("res2", residual("res2")),
        Block::new("down", strided),
        Block::new("last", conv_bn("last", 6, 6, 1)),
        Block::new("head", head),
    ];
    Model::new("tiny", [3, 6, 6], CLASSES, blocks).expect("a valid model")
}

/// Batches of 4 samples; every third is smaller, like the last of an epoch.
fn samples(batch: usize) -> usize {
    if batch % 3 == 2 { 2 } else { 4 }
}

pub struct Noise;

impl Inputs for Noise {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let samples = samples(batch);
        let mut state = batch as u64 + 1;
        let data = (0..samples * 3 * 6 * 6).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        });
        Ok(HostTensor::new(vec![samples, 3, 6, 6], data.collect())?)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        (batch < 2)
            .then(|| Inputs::train(self, 100 + batch))
            .transpose()
    }
}

impl Labels for Noise {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok((0..samples(batch))
            .map(|sample| (batch + sample) % CLASSES)
            .collect())
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::train(self, 100 + batch)
    }
}

pub fn feeds() -> Feeds {
    Feeds {
        inputs: Box::new(Noise),
        labels: Box::new(Noise),
    }
}

pub fn learning_rate(batch: usize) -> f64 {
    0.1 / (1.0 + batch as f64)
}

/// Nesterov's momentum, with weight decay.
pub fn optimizer() -> Optimizer {
    Optimizer::Momentum {
        beta: 0.9,
        nesterov: 1.0,
        weight_decay: WeightDecay::everywhere(1e-3),
    }
}

pub fn build<K: Engine>(
    model: &Model,
    cut: &Cut,
    at: usize,
    optimizer: Optimizer,
) -> LayeredStage<K> {
    stage(&StageSpec {
        optimizer,
        label_smoothing: 0.1,
        ..StageSpec::new(model, cut.stages()[at].clone(), 7)
    })
}

pub fn plan(schedule: &str, stages: usize) -> Plan {
    let schedule = Schedule::parse(schedule, Some(stages)).expect("a valid schedule");
    let horizon = Horizon {
        batches: BATCHES,
        evaluate_at: EVALUATE_AT.to_vec(),
        snapshot_at: vec![BATCHES],
        ..Horizon::default()
    };
    Plan::new(schedule, horizon, optimizer(), learning_rate)
}

pub fn cut_for(model: &Model, schedule: &Schedule) -> Cut {
    Balance::Uniform
        .cut(model, &schedule.recomputes(), None)
        .expect("enough blocks")
}
