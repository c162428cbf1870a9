//! Backward in two halves: the gradient of the input first, those of weights and biases later, with the bits of the whole.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{Activation, HostTensor, Stage, StageSpec};
use stagger_model::{Layer, Model};

use crate::Engine;
use crate::fixtures::{bits, images, labels, resnet8, single, stage, values, whole};

/// Products with and without bias, and nothing that has a gradient of its own.
fn products() -> Model {
    let conv = |name: &str, from, to, stride, bias| Layer::Conv2d {
        name: name.into(),
        in_channels: from,
        out_channels: to,
        kernel: 3,
        stride,
        padding: 1,
        groups: 1,
        bias,
        zero_weight: false,
    };
    let layers = vec![
        conv("first", 3, 5, 1, true),
        Layer::Relu,
        conv("second", 5, 6, 2, false),
        Layer::Relu,
        Layer::Flatten,
        Layer::linear("hidden", 96, 12),
        Layer::Relu,
        Layer::linear("fc", 12, 10),
    ];
    single([3, 8, 8], 10, layers)
}

/// A residual of each kind, a pool of each kind, and dropout.
fn mixed() -> Model {
    let branch = |name: &str, from, to, stride| {
        vec![
            Layer::conv3x3(format!("{name}.conv"), from, to, stride),
            Layer::batch_norm(format!("{name}.bn"), to),
        ]
    };
    let bare = vec![Layer::conv3x3("bare.conv", 6, 6, 1)];
    let residual = |body, shortcut| Layer::Residual { body, shortcut };
    let drop = Layer::Dropout {
        name: "drop".into(),
        probability: 0.3,
    };
    let halving = Layer::MaxPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    };
    let layers = [
        branch("stem", 3, 4, 1),
        vec![
            Layer::Relu,
            residual(branch("same", 4, 4, 1), vec![]),
            Layer::Relu,
            residual(branch("wider", 4, 6, 2), branch("shortcut", 4, 6, 2)),
            residual(bare, vec![]),
            Layer::Relu,
            halving,
            drop,
            Layer::GlobalAvgPool,
            Layer::Flatten,
            Layer::linear("fc", 6, 10),
        ],
    ];
    single([3, 8, 8], 10, layers.concat())
}

fn models() -> [Model; 3] {
    [products(), mixed(), resnet8()]
}

/// The model as the first stage, as one above others, and as a frozen one.
fn specs(model: &Model) -> [StageSpec<'_>; 3] {
    let upper = StageSpec {
        first: false,
        ..whole(model)
    };
    let frozen = StageSpec {
        frozen: true,
        first: false,
        ..whole(model)
    };
    [whole(model), upper, frozen]
}

fn recorded<K: Engine>(
    stage: &mut LayeredStage<K>,
    round: usize,
) -> <LayeredStage<K> as Stage>::Graph {
    let input = stage.upload(images(4, 3, 8, round)).unwrap();
    stage.record(&input, round).unwrap().1
}

fn output_grad<K: Engine>(
    stage: &LayeredStage<K>,
    round: usize,
) -> <LayeredStage<K> as Stage>::Activation {
    let grad = values(&format!("output gradient {round}"), 40).into_iter();
    let grad = grad.map(|value| value as f32).collect();
    let grad = HostTensor::new(vec![4, 10], grad).unwrap();
    stage.upload(grad).unwrap()
}

/// Bits of the gradients that have added up.
fn sums<K: Engine>(stage: &LayeredStage<K>) -> Vec<Vec<u32>> {
    let sums = stage.export_gradients().unwrap().into_iter();
    let bits = |sum: HostTensor| sum.data.into_iter().map(f32::to_bits).collect();
    sums.map(bits).collect()
}

/// Several passes pulled back whole, and in halves of which one waits for `behind` others.
fn compare<K: Engine>(spec: &StageSpec<'_>, behind: usize) {
    const PASSES: usize = 4;
    let mut stage = stage::<K>(spec);
    let graphs: Vec<_> = (0..PASSES)
        .map(|round| recorded(&mut stage, round))
        .collect();
    let again: Vec<_> = (0..PASSES)
        .map(|round| recorded(&mut stage, round))
        .collect();
    let mut input_grads = Vec::new();
    for (round, graph) in graphs.into_iter().enumerate() {
        let grad = output_grad(&stage, round);
        let input_grad = stage.backward(graph, grad).unwrap();
        input_grads.push(input_grad.map(|grad| bits(&grad)));
    }
    let expected = sums(&stage);
    stage.discard_gradients();
    let mut waiting = std::collections::VecDeque::new();
    for (round, graph) in again.into_iter().enumerate() {
        let grad = output_grad(&stage, round);
        let (input_grad, pending) = stage.backward_input(graph, grad).unwrap();
        assert_eq!(input_grad.map(|grad| bits(&grad)), input_grads[round]);
        waiting.push_back(pending);
        if waiting.len() > behind {
            let pending = waiting.pop_front().unwrap();
            stage.backward_weights(pending).unwrap();
        }
    }
    for pending in waiting {
        stage.backward_weights(pending).unwrap();
    }
    let moved = expected.iter().flatten().any(|&bits| bits != 0);
    assert_eq!(moved, !spec.frozen, "a frozen stage has no gradients");
    assert!(sums(&stage) == expected, "{}: sums differ", spec.model.name);
}

pub fn both_halves_have_the_bits_of_the_whole<K: Engine>() {
    for model in &models() {
        for spec in &specs(model) {
            compare::<K>(spec, 0);
        }
    }
}

pub fn halves_of_several_passes_wait_side_by_side<K: Engine>() {
    for model in &models() {
        for spec in &specs(model) {
            compare::<K>(spec, 1);
            compare::<K>(spec, 3);
        }
    }
}

/// An update, and other weights, between the halves of a pass do not reach the second.
pub fn a_pending_half_keeps_the_weights_of_its_graph<K: Engine>() {
    let model = products();
    let [_, spec, _] = specs(&model);
    let run = |halves: bool| {
        let mut stage = stage::<K>(&spec);
        let (first, second) = (recorded(&mut stage, 0), recorded(&mut stage, 1));
        let old = stage.weights();
        let grads = [output_grad(&stage, 0), output_grad(&stage, 1)];
        let [first_grad, second_grad] = grads;
        stage.backward(first, first_grad).unwrap();
        let pending = match halves {
            true => Ok(stage.backward_input(second, second_grad).unwrap().1),
            false => Err((second, second_grad)),
        };
        stage.update(0.1).unwrap();
        let own = stage.replace_weights(old);
        match pending {
            Ok(pending) => stage.backward_weights(pending).unwrap(),
            Err((graph, grad)) => {
                stage.backward(graph, grad).unwrap();
            }
        }
        stage.replace_weights(own);
        let sums = sums(&stage);
        stage.update(0.1).unwrap();
        (sums, stage.export().unwrap())
    };
    let (in_halves, whole) = (run(true), run(false));
    assert!(in_halves.0 == whole.0, "gradients differ");
    assert!(in_halves.1 == whole.1, "states differ");
}

/// Rounds of two micro-batches with a clipped update, and a loss.
pub fn training_in_halves_leaves_the_same_state<K: Engine>() {
    for model in &models() {
        let run = |halves: bool| {
            let mut stage = stage::<K>(&StageSpec {
                clip_norm: Some(0.5),
                ..whole(model)
            });
            let mut norms = Vec::new();
            for round in 0..3 {
                let mut late = Vec::new();
                for micro in [2 * round, 2 * round + 1] {
                    let input = stage.upload(images(4, 3, 8, micro)).unwrap();
                    let (output, graph) = stage.record(&input, micro).unwrap();
                    let loss = stage.loss(&output, &labels(4, 10, micro), 0.5).unwrap();
                    if halves {
                        late.push(stage.backward_input(graph, loss.grad).unwrap().1);
                    } else {
                        stage.backward(graph, loss.grad).unwrap();
                    }
                }
                for pending in late {
                    stage.backward_weights(pending).unwrap();
                }
                norms.push(stage.update(0.05).unwrap().gradient_norm);
            }
            (norms, stage.export().unwrap())
        };
        let (in_halves, whole) = (run(true), run(false));
        assert_eq!(in_halves.0, whole.0);
        assert!(in_halves.1 == whole.1, "{}: states differ", model.name);
    }
}

/// The first half refuses what the whole refuses.
pub fn a_gradient_of_a_wrong_shape_is_refused_by_the_first_half<K: Engine>() {
    let model = products();
    let mut stage = stage::<K>(&whole(&model));
    let graph = recorded(&mut stage, 0);
    let grad = stage
        .upload(HostTensor::new(vec![4, 9], vec![0.0; 36]).unwrap())
        .unwrap();
    assert_eq!(grad.shape(), [4, 9]);
    let error = stage.backward_input(graph, grad).err().unwrap();
    assert!(error.to_string().contains("output gradient"), "{error}");
}
