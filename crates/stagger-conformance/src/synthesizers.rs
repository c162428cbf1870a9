//! Networks that learn to guess gradients.

use stagger_engine::{Activation, HostTensor, MseLoss, Optimizer, Stage, StageSpec, WeightDecay};
use stagger_model::synthesizer;

use crate::Engine;
use crate::fixtures::{images, stage};

/// A batch of activations, and gradients that are a linear function of them: each channel pulls at the next.
fn batch(shape: &[usize], round: usize) -> (HostTensor, HostTensor) {
    let samples = 16;
    let values: usize = shape.iter().product();
    let mut data = images(samples, values, 1, round).data;
    let sides = [&[samples], shape].concat();
    let input = HostTensor::new(sides.clone(), data.clone()).unwrap();
    let channel = values / shape[0];
    for row in data.chunks_mut(values) {
        let old = row.to_vec();
        for (index, value) in row.iter_mut().enumerate() {
            *value = 0.5 * old[(index + channel) % values] - 0.25 * old[index];
        }
    }
    (input, HostTensor::new(sides, data).unwrap())
}

pub fn a_synthesizer_learns_a_linear_target<K: Engine>() {
    for shape in [vec![4, 6, 6], vec![12]] {
        let model = synthesizer("dni.0", &shape).unwrap();
        let mut stage = stage::<K>(&StageSpec {
            optimizer: Optimizer::Momentum {
                beta: 0.9,
                nesterov: 0.0,
                weight_decay: WeightDecay::default(),
            },
            ..StageSpec::synthesizer(&model, 5).unwrap()
        });
        let mut losses = Vec::new();
        for round in 0..150 {
            let (input, target) = batch(&shape, round % 4);
            let power = target.data.iter().map(|&value| f64::from(value).powi(2));
            let power = power.sum::<f64>() / target.data.len() as f64;
            let input = stage.upload(input).unwrap();
            let target = stage.upload(target).unwrap();
            let (guess, graph) = stage.record(&input, round).unwrap();
            let MseLoss { value, grad } = stage.mse_loss(&guess, &target).unwrap();
            if round == 0 {
                assert_eq!(guess.shape(), target.shape());
                let guess = guess.to_host().unwrap();
                assert!(guess.data.iter().all(|&value| value == 0.0));
                assert!((value / power - 1.0).abs() < 1e-6, "{value} is not {power}");
            }
            let input_grad = stage.backward(graph, grad).unwrap();
            assert!(input_grad.is_none(), "it is not needed");
            stage.update(0.1).unwrap();
            losses.push(value);
        }
        let last = losses[149];
        assert!(last < 0.2 * losses[0], "{shape:?}: {losses:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::resnet8;
    use stagger_engine::EngineError;

    #[test]
    fn other_models_are_no_synthesizers() {
        let model = resnet8();
        let error = StageSpec::synthesizer(&model, 1).unwrap_err();
        assert!(matches!(error, EngineError::NoSynthesizer { .. }));
    }
}
