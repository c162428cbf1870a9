//! Optimizer steps over backend tensors; the formulas are those of [`Optimizer::reference_step`].

use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;

use crate::optimizer::Optimizer;

use super::backend::BurnKernels;

/// One step on one parameter: its new value. `step` counts from 1.
pub(crate) fn step<B: BurnKernels>(
    optimizer: &Optimizer,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    slots: &mut [FloatTensor<B>],
    step: u64,
    learning_rate: f64,
) -> FloatTensor<B> {
    let scaled = |tensor: FloatTensor<B>, factor: f64| B::float_mul_scalar(tensor, factor.into());
    let decay = optimizer.weight_decay().rate_for(weight.rank());
    // λ = 0 is common and would cost two passes over the weights.
    let decayed = |gradient: FloatTensor<B>, weight: &FloatTensor<B>| {
        if decay == 0.0 {
            gradient
        } else {
            B::float_add(gradient, scaled(weight.clone(), decay))
        }
    };
    match (optimizer, slots) {
        (Optimizer::Momentum { beta, nesterov, .. }, [velocity]) => {
            let gradient = decayed(gradient, &weight);
            *velocity = B::float_add(scaled(velocity.clone(), *beta), gradient.clone());
            let share = 1.0 - nesterov * (1.0 - beta);
            let step = scaled(velocity.clone(), learning_rate * share);
            let step = match *nesterov {
                0.0 => step,
                nesterov => B::float_add(step, scaled(gradient, learning_rate * nesterov)),
            };
            B::float_sub(weight, step)
        }
        (
            Optimizer::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            },
            [mean, square],
        ) => {
            let weight = if decay == 0.0 {
                weight
            } else {
                scaled(weight, 1.0 - learning_rate * decay)
            };
            let gradient_square = B::float_mul(gradient.clone(), gradient.clone());
            *mean = B::float_add(scaled(mean.clone(), *beta1), scaled(gradient, 1.0 - beta1));
            *square = B::float_add(
                scaled(square.clone(), *beta2),
                scaled(gradient_square, 1.0 - beta2),
            );
            let unbias = |beta: f64| 1.0 / (1.0 - beta.powf(step as f64));
            let root = B::float_sqrt(scaled(square.clone(), unbias(*beta2)));
            let root = B::float_add_scalar(root, (*epsilon).into());
            let step = scaled(mean.clone(), learning_rate * unbias(*beta1));
            B::float_sub(weight, B::float_div(step, root))
        }
        _ => {
            let gradient = decayed(gradient, &weight);
            B::float_sub(weight, scaled(gradient, learning_rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use burn_backend::ops::FloatTensorOps;
    use burn_backend::{TensorData, read_sync};
    use burn_flex::{Flex, FlexDevice, FlexTensor};

    use super::*;
    use crate::optimizer::WeightDecay;

    fn tensor(values: &[f64]) -> FlexTensor {
        Flex::float_from_data(
            TensorData::new(values.to_vec(), vec![values.len(), 1]),
            &FlexDevice,
        )
    }

    fn values(tensor: &FlexTensor) -> Vec<f64> {
        read_sync(Flex::float_into_data(tensor.clone()))
            .unwrap()
            .try_into_vec::<f64>()
            .unwrap()
    }

    #[test]
    fn every_optimizer_follows_its_reference() {
        let weight_decay = WeightDecay::everywhere(0.01);
        let plain = WeightDecay::default();
        for optimizer in [
            Optimizer::Sgd { weight_decay },
            Optimizer::Momentum {
                beta: 0.9,
                nesterov: 0.0,
                weight_decay,
            },
            Optimizer::Momentum {
                beta: 0.9,
                nesterov: 1.0,
                weight_decay: plain,
            },
            Optimizer::Momentum {
                beta: 0.5,
                nesterov: 1.7,
                weight_decay,
            },
            Optimizer::AdamW {
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-8,
                weight_decay,
            },
        ] {
            let start = [1.0, -2.0, 0.5, 3.0];
            let mut weight = tensor(&start);
            let mut slots = vec![tensor(&[0.0; 4]); optimizer.slots().len()];
            let (mut expected, mut state) = (start, [[0.0; 2]; 4]);
            for round in 1..=20_u64 {
                let rate = 0.1 / round as f64;
                let gradients = expected.map(|value: f64| value.sin() + 0.1 * round as f64);
                for index in 0..4 {
                    let slots = &mut state[index];
                    let gradient = gradients[index];
                    let weight = &mut expected[index];
                    optimizer.reference_step(weight, gradient, slots, round, rate, 2);
                }
                let gradient = tensor(&gradients);
                weight = step::<Flex>(&optimizer, weight, gradient, &mut slots, round, rate);
                for (found, expected) in values(&weight).iter().zip(expected) {
                    let close = (found - expected).abs() < 1e-12;
                    assert!(
                        close,
                        "{optimizer:?}, step {round}: {found} is not {expected}"
                    );
                }
            }
        }
    }
}
