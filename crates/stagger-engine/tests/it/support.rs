//! Small models, made-up batches, and a plain training step.

use stagger_engine::layered::{Kernels, LayeredStage};
use stagger_engine::{Activation, HostTensor, Loss, Stage, StageSpec};
use stagger_model::{Block, Layer, Model};

/// An engine whose default device is the CPU, with one thread.
pub trait Engine: Kernels<Device: Default> {}

impl<K: Kernels<Device: Default>> Engine for K {}

/// The tests, each a function generic over [`Engine`], for every engine that is built in.
macro_rules! for_every_engine {
    ($($test:ident),* $(,)?) => {
        mod burn {
            $(
                #[test]
                fn $test() {
                    super::$test::<burn_flex::Flex>();
                }
            )*
        }

        #[cfg(feature = "torch")]
        mod torch {
            $(
                #[test]
                fn $test() {
                    super::$test::<stagger_engine::torch::Torch>();
                }
            )*
        }
    };
}

/// An image batch; `round` tells batches apart.
pub fn images(samples: usize, channels: usize, side: usize, round: usize) -> HostTensor {
    let len = samples * channels * side * side;
    let data = (0..len)
        .map(|index| ((index * 37 + round * 101) as f32 * 0.713).sin())
        .collect();
    HostTensor::new(vec![samples, channels, side, side], data).unwrap()
}

pub fn labels(samples: usize, classes: usize, round: usize) -> Vec<usize> {
    (0..samples)
        .map(|index| (index * 7 + round) % classes)
        .collect()
}

pub fn resnet8() -> Model {
    Model::by_name("resnet8", [3, 8, 8], 10).unwrap()
}

/// A model of one block.
pub fn single(input: [usize; 3], classes: usize, layers: Vec<Layer>) -> Model {
    Model::new("single", input, classes, vec![Block::new("only", layers)]).unwrap()
}

pub fn stage<K: Engine>(spec: &StageSpec<'_>) -> LayeredStage<K> {
    LayeredStage::new(spec, Default::default()).unwrap()
}

pub fn whole(model: &Model) -> StageSpec<'_> {
    StageSpec::new(model, 0..model.blocks.len(), 11)
}

/// Bits of a tensor, for comparisons that NaN and signed zeros cannot fool.
pub fn bits(tensor: &impl Activation) -> Vec<u32> {
    tensor
        .to_host()
        .unwrap()
        .data
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

/// One batch forward and backward through consecutive stages, and an update of all; gives the loss and the gradient
/// that comes out at the bottom, if any does.
pub fn train<K: Engine>(
    stages: &mut [LayeredStage<K>],
    samples: usize,
    round: usize,
) -> (f32, Option<Vec<u32>>) {
    let mut tensor = stages[0].upload(images(samples, 3, 8, round)).unwrap();
    let mut graphs = Vec::new();
    for stage in stages.iter_mut() {
        let (output, graph) = stage.record(&tensor, round).unwrap();
        tensor = output;
        graphs.push(graph);
    }
    let last = stages.last().unwrap();
    let Loss { value, grad, .. } = last
        .loss(&tensor, &labels(samples, 10, round), 1.0)
        .unwrap();
    let mut grad = Some(grad);
    for (stage, graph) in stages.iter_mut().zip(graphs).rev() {
        grad = stage.backward(graph, grad.unwrap()).unwrap();
        stage.update(0.05).unwrap();
    }
    (value, grad.map(|grad| bits(&grad)))
}
