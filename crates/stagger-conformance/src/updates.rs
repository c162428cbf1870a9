//! Gradients into updates.

use stagger_engine::{HostTensor, Optimizer, Stage, StageSpec, WeightDecay};
use stagger_model::{Layer, Model};

use crate::Engine;
use crate::fixtures::{resnet8, single, stage, train, whole};

/// One linear layer of 2 inputs and 2 classes: gradients can be written down.
fn linear() -> Model {
    single(
        [2, 1, 1],
        2,
        vec![Layer::Flatten, Layer::linear("fc", 2, 2)],
    )
}

/// Weight after steps on one sample `[1, 2]` with an output gradient of `[1, -1]`: the weight's gradient is
/// `[1, 2, -1, -2]`, its norm with the bias's `[1, -1]` is `√12`.
fn weight_after<K: Engine>(spec: StageSpec<'_>, steps: usize) -> (Vec<f32>, Option<f64>) {
    let mut stage = stage::<K>(&StageSpec {
        first: false,
        ..spec
    });
    let mut state = stage.export().unwrap().without_optimizer();
    state.tensors.get_mut("fc.weight").unwrap().data.fill(1.0);
    stage.import(&state).unwrap();
    let mut norm = None;
    for step in 0..steps {
        let input = HostTensor::new(vec![1, 2, 1, 1], vec![1.0, 2.0]).unwrap();
        let input = stage.upload(input).unwrap();
        let (_, graph) = stage.record(&input, step).unwrap();
        let grad = HostTensor::new(vec![1, 2], vec![1.0, -1.0]).unwrap();
        let grad = stage.upload(grad).unwrap();
        stage
            .backward(graph, grad)
            .unwrap()
            .expect("not the first stage");
        norm = stage.update(0.1).unwrap().gradient_norm;
    }
    (
        stage.export().unwrap().tensors["fc.weight"].data.clone(),
        norm,
    )
}

fn close(found: &[f32], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-6,
            "{found} is not {expected}"
        );
    }
}

pub fn optimizers_by_hand<K: Engine>() {
    let model = linear();
    let run = |optimizer| {
        weight_after::<K>(
            StageSpec {
                optimizer,
                ..whole(&model)
            },
            2,
        )
        .0
    };
    let none = WeightDecay::default();
    close(
        &run(Optimizer::Sgd { weight_decay: none }),
        &[0.8, 0.6, 1.2, 1.4],
    );
    // Velocities 1 and 1.5 times the gradient.
    let heavy_ball = Optimizer::Momentum {
        beta: 0.5,
        nesterov: 0.0,
        weight_decay: none,
    };
    close(&run(heavy_ball), &[0.75, 0.5, 1.25, 1.5]);
    // Steps of g + β·v: 1.5 and 1.75 times the gradient.
    let nesterov = Optimizer::Momentum {
        beta: 0.5,
        nesterov: 1.0,
        weight_decay: none,
    };
    close(&run(nesterov), &[0.675, 0.35, 1.325, 1.65]);
    // A constant gradient makes every step of Adam one learning rate long.
    let adamw = Optimizer::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-12,
        weight_decay: none,
    };
    close(&run(adamw), &[0.8, 0.8, 1.2, 1.2]);
    // So does one of Lion.
    close(&run(Optimizer::lion(none)), &[0.8, 0.8, 1.2, 1.2]);
    // Weights of length 2 move by 0.1·2 along a gradient of length √10, which does not turn: v = 2/√10 · g, then as much again with half of
    // the first step and the length that the weights have by then.
    let lars = Optimizer::Lars {
        beta: 0.5,
        trust: 1.0,
        weight_decay: none,
    };
    let gradient = [1.0, 2.0, -1.0, -2.0_f64];
    let length = 10.0_f64.sqrt();
    let first = 2.0 / length;
    let moved = gradient.map(|gradient| 1.0 - 0.1 * first * gradient);
    let second = 0.5 * first + moved.iter().map(|value| value * value).sum::<f64>().sqrt() / length;
    let expected: Vec<f64> = (moved.iter().zip(gradient))
        .map(|(moved, gradient)| moved - 0.1 * second * gradient)
        .collect();
    close(&run(lars), &expected);
}

pub fn clipping<K: Engine>() {
    let model = linear();
    let norm = 12.0_f64.sqrt();
    let clipped = |limit| {
        weight_after::<K>(
            StageSpec {
                clip_norm: Some(limit),
                ..whole(&model)
            },
            1,
        )
    };
    let (weight, found) = clipped(norm / 2.0);
    assert!((found.unwrap() - norm).abs() < 1e-6);
    close(&weight, &[0.95, 0.9, 1.05, 1.1]);
    let (weight, _) = clipped(2.0 * norm);
    close(&weight, &[0.9, 0.8, 1.1, 1.2]);
    assert_eq!(
        weight_after::<K>(whole(&model), 1).1,
        None,
        "the norm costs time and is not asked for"
    );
}

pub fn gradients_add_up_until_the_update<K: Engine>() {
    let model = linear();
    let mut stage = stage::<K>(&StageSpec {
        first: false,
        ..whole(&model)
    });
    let before = stage.export().unwrap().tensors["fc.bias"].data.clone();
    let input = HostTensor::new(vec![1, 2, 1, 1], vec![1.0, 2.0]).unwrap();
    let input = stage.upload(input).unwrap();
    for factor in [1.0, 3.0] {
        let (_, graph) = stage.record(&input, 0).unwrap();
        let grad = HostTensor::new(vec![1, 2], vec![factor, 0.0]).unwrap();
        stage.backward(graph, stage.upload(grad).unwrap()).unwrap();
    }
    stage.update(1.0).unwrap();
    let after = &stage.export().unwrap().tensors["fc.bias"].data;
    assert_eq!((before[0] - after[0], before[1] - after[1]), (4.0, 0.0));
    let error = stage.update(1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stage `only` cannot update: no backward pass has run since its last update"
    );
}

pub fn a_stage_without_parameters_updates_to_nothing<K: Engine>() {
    let model = single([2, 1, 1], 2, vec![Layer::Flatten]);
    let mut stage = stage::<K>(&whole(&model));
    assert_eq!(stage.update(0.1).unwrap(), Default::default());
}

pub fn training_lowers_the_loss<K: Engine>() {
    let model = resnet8();
    let mut stages = [stage::<K>(&StageSpec {
        label_smoothing: 0.1,
        ..whole(&model)
    })];
    let losses: Vec<f32> = (0..30).map(|_| train(&mut stages, 8, 0).0).collect();
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagger_engine::EngineError;

    #[test]
    fn settings_are_checked() {
        let model = linear();
        let error = |spec: StageSpec<'_>| spec.validate().unwrap_err();
        let clip = error(StageSpec {
            clip_norm: Some(0.0),
            ..whole(&model)
        });
        assert_eq!(
            clip.to_string(),
            "gradient clipping expects a finite number above 0 but is 0"
        );
        let smoothing = error(StageSpec {
            label_smoothing: 1.0,
            ..whole(&model)
        });
        assert_eq!(
            smoothing.to_string(),
            "label smoothing expects at least 0 and below 1 but is 1"
        );
        let weight_decay = WeightDecay::everywhere(-1.0);
        let optimizer = error(StageSpec {
            optimizer: Optimizer::Sgd { weight_decay },
            ..whole(&model)
        });
        assert!(matches!(optimizer, EngineError::Optimizer(_)));
    }
}
