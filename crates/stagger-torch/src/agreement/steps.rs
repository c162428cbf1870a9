//! Both optimizer steps against their reference.

use tch::{Kind, Tensor};

use stagger_engine::layered::ParameterStep;
use stagger_engine::{Optimizer, StepOf, WeightDecay};

use super::{tensor, values};
use crate::{TorchTensor, step};

fn optimizers() -> Vec<Optimizer> {
    let mut optimizers = Vec::new();
    for weight_decay in [
        WeightDecay::default(),
        WeightDecay::everywhere(0.02),
        WeightDecay::matrices(0.02),
    ] {
        optimizers.push(Optimizer::Sgd { weight_decay });
        for nesterov in [0.0, 0.6, 1.0, 1.7] {
            optimizers.push(Optimizer::Momentum {
                beta: 0.8,
                nesterov,
                weight_decay,
            });
        }
        optimizers.push(Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-6,
            weight_decay,
        });
        optimizers.push(Optimizer::Lars {
            beta: 0.8,
            trust: 0.3,
            weight_decay,
        });
        optimizers.push(Optimizer::lion(weight_decay));
    }
    optimizers
}

type Step = fn(
    &Optimizer,
    u64,
    f64,
    Vec<ParameterStep<'_, TorchTensor>>,
) -> Result<(), stagger_engine::EngineError>;

/// Ten steps on a kernel, a matrix and a vector; after every step weights and state are those of the reference, and
/// rounded copies are the weights rounded.
fn follows(optimizer: &Optimizer, run: Step, kinds: [Kind; 2], share: f64) {
    let [kind, gradient_kind] = kinds;
    let shapes: [&[usize]; 3] = [&[5, 3, 3, 3], &[4, 7], &[6]];
    let start = |name: &str, shape: &[usize]| tensor(name, shape).to_kind(kind);
    let mut weights: Vec<TorchTensor> = shapes
        .iter()
        .map(|shape| start("weight", shape).into())
        .collect();
    let count = optimizer.slots().len();
    let mut slots: Vec<Vec<TorchTensor>> = weights
        .iter()
        .map(|weight| (0..count).map(|_| weight.as_tensor().zeros_like().into()))
        .map(Iterator::collect)
        .collect();
    let mut rounded: Vec<TorchTensor> = weights
        .iter()
        .map(|weight| weight.as_tensor().to_kind(Kind::BFloat16).into())
        .collect();
    let mut expected: Vec<Vec<f64>> = weights
        .iter()
        .map(|weight| values(weight.as_tensor()))
        .collect();
    let mut state: Vec<Vec<[f64; 2]>> = expected
        .iter()
        .map(|weights| vec![[0.0; 2]; weights.len()])
        .collect();
    for number in 1..=10 {
        let rate = 0.1 / number as f64;
        let gradients: Vec<Tensor> = shapes
            .iter()
            .map(|shape| tensor(&format!("gradient {number}"), shape).to_kind(gradient_kind))
            .collect();
        // Now and then somebody holds the weights of before and their copies, as a kept graph does; always the gradients.
        let held: Vec<TorchTensor> = if number % 2 == 0 {
            weights.iter().chain(&rounded).cloned().collect()
        } else {
            Vec::new()
        };
        let before: Vec<_> = held.iter().map(|held| values(held.as_tensor())).collect();
        let parameters = weights
            .iter_mut()
            .zip(&gradients)
            .zip(slots.iter_mut().zip(&mut rounded))
            .map(|((weight, gradient), (slots, rounded))| ParameterStep {
                weight,
                gradient: gradient.shallow_clone().into(),
                slots,
                rounded: (kind == Kind::Float).then_some(rounded),
            });
        run(optimizer, number, rate, parameters.collect()).unwrap();
        for (held, before) in held.iter().zip(before) {
            assert_eq!(values(held.as_tensor()), before, "held weights");
        }
        for (which, shape) in shapes.iter().enumerate() {
            let gradients = values(&gradients[which]);
            let norms = [&expected[which], &gradients].map(|values| {
                let squares = values.iter().map(|value| value * value);
                squares.sum::<f64>().sqrt()
            });
            let of = StepOf {
                number,
                learning_rate: rate,
                dimensions: shape.len(),
                trust_ratio: optimizer.trust_ratio(norms[0], norms[1], shape.len()),
            };
            for (at, gradient) in gradients.into_iter().enumerate() {
                let (weight, slots) = (&mut expected[which][at], &mut state[which][at]);
                optimizer.reference_step(weight, gradient, slots, of);
            }
            let close = |found: &TorchTensor, expected: &mut dyn Iterator<Item = f64>| {
                for (found, expected) in values(found.as_tensor()).into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= share * (1.0 + expected.abs()),
                        "{optimizer:?}, step {number}, {shape:?}: {found} is not {expected}"
                    );
                }
            };
            close(&weights[which], &mut expected[which].iter().copied());
            for (slot, found) in slots[which].iter().enumerate() {
                close(found, &mut state[which].iter().map(|slots| slots[slot]));
            }
            if kind == Kind::Float {
                let weight = weights[which].as_tensor().to_kind(Kind::BFloat16);
                assert_eq!(values(rounded[which].as_tensor()), values(&weight));
            }
        }
    }
}

#[test]
fn the_fused_step_follows_its_reference() {
    for optimizer in optimizers() {
        for gradient in [Kind::Float, Kind::BFloat16] {
            follows(&optimizer, step::step, [Kind::Float, gradient], 2e-6);
        }
    }
}

#[test]
fn the_step_over_lists_follows_its_reference() {
    for optimizer in optimizers() {
        for gradient in [Kind::Float, Kind::BFloat16] {
            follows(&optimizer, step::foreach, [Kind::Float, gradient], 2e-6);
        }
        follows(&optimizer, step::step, [Kind::Double; 2], 1e-13);
    }
}
