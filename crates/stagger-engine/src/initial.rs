//! Initial values of parameters.

use stagger_model::{Initializer, Parameter};

use crate::random::{stream, unit};

/// The values that `parameter` starts with, in the memory order of its shape. A function of (seed, parameter name,
/// shape) alone, so that every cut of a model, and every engine, starts from the same weights.
pub fn initial_values(parameter: &Parameter, seed: u64) -> Vec<f32> {
    let len = parameter.shape.iter().product();
    let mut stream = stream(seed, "initial", &parameter.name, 0);
    match parameter.initializer() {
        Initializer::Normal { std } => {
            // Box–Muller: two uniform numbers give two independent normal ones.
            let mut values = Vec::with_capacity(len + 1);
            while values.len() < len {
                let radius = std * (-2.0 * (1.0 - unit(&mut stream)).ln()).sqrt();
                let angle = std::f64::consts::TAU * unit(&mut stream);
                values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
            }
            values.truncate(len);
            values
        }
        Initializer::Uniform { bound } => (0..len)
            .map(|_| ((2.0 * unit(&mut stream) - 1.0) * bound) as f32)
            .collect(),
        Initializer::Constant { value } => vec![value as f32; len],
    }
}

#[cfg(test)]
mod tests {
    use stagger_model::ParameterKind;

    use super::*;

    fn parameter(name: &str, shape: &[usize], kind: ParameterKind) -> Parameter {
        Parameter {
            name: name.into(),
            shape: shape.to_vec(),
            kind,
        }
    }

    #[test]
    fn spread_is_the_initializers() {
        let conv = parameter("conv.weight", &[64, 16, 3, 3], ParameterKind::ConvWeight);
        let values = initial_values(&conv, 3);
        let square = values
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>();
        let std = (square / values.len() as f64).sqrt();
        assert!((std / (2.0_f64 / 144.0).sqrt() - 1.0).abs() < 0.02, "{std}");

        let linear = parameter("fc.weight", &[10, 64], ParameterKind::LinearWeight);
        let values = initial_values(&linear, 3);
        assert!(values.iter().all(|value| value.abs() <= 0.125));
        assert!(values.iter().any(|value| value.abs() > 0.12));
    }

    #[test]
    fn values_depend_on_seed_and_name() {
        let shape = [4, 3, 3, 3];
        let values =
            |name, seed| initial_values(&parameter(name, &shape, ParameterKind::ConvWeight), seed);
        assert_eq!(values("a", 1), values("a", 1));
        assert_ne!(values("a", 1), values("b", 1));
        assert_ne!(values("a", 1), values("a", 2));
    }
}
