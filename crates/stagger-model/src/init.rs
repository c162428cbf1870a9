//! How parameters start out, as data: the distribution, not the draw.

use crate::parameter::{Parameter, ParameterKind};

/// The distribution of a parameter's initial values. An engine draws from it with a random stream keyed by
/// (seed, parameter name), so that the values do not depend on how the model is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform on `[−bound, bound)`.
    Uniform {
        /// Half of the width.
        bound: f64,
    },
    /// The same value everywhere.
    Constant {
        /// That value.
        value: f64,
    },
}

impl Initializer {
    /// The initializer of a parameter of this kind and shape (PyTorch layout):
    ///
    /// | kind | values |
    /// | --- | --- |
    /// | convolution weight | normal, std = √(2 / fan_in), He et al. 2015 "Delving Deep into Rectifiers", eq. 10 |
    /// | linear weight | uniform, bound = 1 / √fan_in, PyTorch's default |
    /// | scale | 1 |
    /// | shift, bias, weight that starts at 0 | 0 |
    ///
    /// `fan_in` is the number of inputs that one output sums up: all dimensions but the first.
    pub fn for_parameter(kind: ParameterKind, shape: &[usize]) -> Self {
        let fan_in = shape
            .iter()
            .skip(1)
            .map(|&side| side as f64)
            .product::<f64>()
            .max(1.0);
        match kind {
            ParameterKind::ConvWeight => Self::Normal {
                std: (2.0 / fan_in).sqrt(),
            },
            ParameterKind::LinearWeight => Self::Uniform {
                bound: fan_in.sqrt().recip(),
            },
            ParameterKind::Scale => Self::Constant { value: 1.0 },
            ParameterKind::ZeroWeight | ParameterKind::Shift | ParameterKind::Bias => {
                Self::Constant { value: 0.0 }
            }
        }
    }
}

impl Parameter {
    /// How its values start out; see [`Initializer::for_parameter`].
    pub fn initializer(&self) -> Initializer {
        Initializer::for_parameter(self.kind, &self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolutions_are_kaiming_normal_over_fan_in() {
        let found = Initializer::for_parameter(ParameterKind::ConvWeight, &[32, 16, 3, 3]);
        assert_eq!(
            found,
            Initializer::Normal {
                std: (2.0_f64 / 144.0).sqrt()
            }
        );
    }

    /// A depthwise convolution sums up one channel alone.
    #[test]
    fn groups_count_their_own_inputs() {
        let layer = crate::Layer::grouped3x3("c", 32, 32, 32, 1);
        let std = (2.0_f64 / 9.0).sqrt();
        assert_eq!(
            layer.parameters()[0].initializer(),
            Initializer::Normal { std }
        );
    }

    #[test]
    fn linear_weights_are_uniform_over_fan_in() {
        let found = Initializer::for_parameter(ParameterKind::LinearWeight, &[10, 64]);
        assert_eq!(found, Initializer::Uniform { bound: 0.125 });
    }

    #[test]
    fn vectors_start_constant() {
        let value = |kind| Initializer::for_parameter(kind, &[16]);
        assert_eq!(
            value(ParameterKind::Scale),
            Initializer::Constant { value: 1.0 }
        );
        assert_eq!(
            value(ParameterKind::Shift),
            Initializer::Constant { value: 0.0 }
        );
        assert_eq!(
            value(ParameterKind::ZeroWeight),
            Initializer::Constant { value: 0.0 }
        );
        assert_eq!(
            value(ParameterKind::Bias),
            Initializer::Constant { value: 0.0 }
        );
    }
}
