//! A stage of engine `torch` with several compute threads.

use stagger_engine::{
    Activation, HostTensor, Loss, Optimizer, Stage, StageSpec, StageState, WeightDecay,
};
use stagger_model::Model;
use stagger_torch::{TorchDevice, TorchStage};

use stagger_conformance::fixtures::{images, labels, whole};

/// What a training run of two batches leaves.
#[derive(PartialEq)]
struct Run {
    /// Logits of the first batch.
    logits: HostTensor,
    /// Gradient of the first batch's input.
    input_grad: HostTensor,
    state: StageState,
}

fn run(model: &Model, samples: usize, threads: usize) -> Run {
    let spec = StageSpec {
        first: false,
        optimizer: Optimizer::Momentum {
            beta: 0.9,
            nesterov: 1.0,
            weight_decay: WeightDecay::everywhere(1e-3),
        },
        ..whole(model)
    };
    let device = TorchDevice {
        threads,
        ..TorchDevice::default()
    };
    let mut stage = TorchStage::new(&spec, device).unwrap();
    let [channels, side, _] = model.input;
    let mut found = None;
    for round in 0..2 {
        let input = images(samples, channels, side, round);
        let input = stage.upload(input).unwrap();
        let (logits, graph) = stage.record(&input, round).unwrap();
        let labels = labels(samples, model.classes, round);
        let Loss { grad, .. } = stage.loss(&logits, &labels, 1.0).unwrap();
        let input_grad = stage.backward(graph, grad).unwrap().unwrap();
        stage.update(0.1).unwrap();
        if found.is_none() {
            found = Some((logits.to_host().unwrap(), input_grad.to_host().unwrap()));
        }
    }
    let (logits, input_grad) = found.unwrap();
    Run {
        logits,
        input_grad,
        state: stage.export().unwrap(),
    }
}

/// oneDNN adds up gradients of weights, and some products, in another order for another number of threads; but always in
/// the same one.
#[test]
fn two_threads_give_the_same_bits_every_time_and_nearly_those_of_one() {
    for name in ["resnet8", "resnet164"] {
        let model = Model::by_name(name, [3, 8, 8], 10).unwrap();
        let (one, two) = (run(&model, 6, 1), run(&model, 6, 2));
        assert!(two == run(&model, 6, 2), "{name}: other bits");
        for (one, two) in [
            (&one.logits, &two.logits),
            (&one.input_grad, &two.input_grad),
        ] {
            let largest = one
                .data
                .iter()
                .fold(0.0_f32, |size, value| size.max(value.abs()));
            for (one, two) in one.data.iter().zip(&two.data) {
                assert!((one - two).abs() <= 1e-5 * largest, "{name}: {one} {two}");
            }
        }
    }
}
