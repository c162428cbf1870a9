//! Parameters and buffers of a layer: names and shapes as PyTorch has them.

use crate::layer::Layer;
use crate::shape::elements;

/// What a parameter is, from which its initial values follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// Convolution weight, `[out_channels, in_channels / groups, kernel, kernel]`.
    ConvWeight,
    /// Weight of a linear layer, `[outputs, inputs]`.
    LinearWeight,
    /// Weight of a convolution or linear layer that starts at 0.
    ZeroWeight,
    /// Bias of a convolution or linear layer, `[out_channels]` or `[outputs]`.
    Bias,
    /// Scale of a batch normalisation (PyTorch: `weight`), `[channels]`.
    Scale,
    /// Shift of a batch normalisation (PyTorch: `bias`), `[channels]`.
    Shift,
}

/// A tensor that training changes through its gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The PyTorch name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// The shape in PyTorch's memory layout.
    pub shape: Vec<usize>,
    /// What it is.
    pub kind: ParameterKind,
}

impl Parameter {
    /// The number of values.
    pub fn elements(&self) -> u64 {
        elements(&self.shape)
    }
}

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferKind {
    /// Running mean of a batch normalisation; starts at 0.
    RunningMean,
    /// Running variance of a batch normalisation; starts at 1.
    RunningVariance,
}

impl BufferKind {
    /// The value that all elements start with.
    pub fn initial_value(self) -> f32 {
        match self {
            Self::RunningMean => 0.0,
            Self::RunningVariance => 1.0,
        }
    }
}

/// A tensor that training changes without a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// The PyTorch name, such as `bn1.running_mean`.
    pub name: String,
    /// The shape, `[channels]`.
    pub shape: Vec<usize>,
    /// What it holds.
    pub kind: BufferKind,
}

impl Layer {
    /// The parameters, in PyTorch's order: weight before bias, body before shortcut.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut found = Vec::new();
        self.walk(&mut |layer| layer.own_parameters(&mut found));
        found
    }

    /// The buffers: running mean, then running variance, of every batch normalisation, body before shortcut.
    pub fn buffers(&self) -> Vec<Buffer> {
        let mut found = Vec::new();
        self.walk(&mut |layer| {
            for (suffix, kind) in [
                ("running_mean", BufferKind::RunningMean),
                ("running_var", BufferKind::RunningVariance),
            ] {
                found.extend(layer.statistics().map(|(name, channels)| Buffer {
                    name: format!("{name}.{suffix}"),
                    shape: vec![channels],
                    kind,
                }));
            }
        });
        found
    }

    /// The names `….num_batches_tracked`, one per batch normalisation, that PyTorch expects in a weights file
    /// (a 64-bit integer scalar each). They take no part in training, so they are not among the buffers.
    pub fn batch_counters(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&mut |layer| {
            let counter = |(name, _)| format!("{name}.num_batches_tracked");
            found.extend(layer.statistics().map(counter));
        });
        found
    }

    /// Name and channels of a layer that keeps running statistics.
    fn statistics(&self) -> Option<(&str, usize)> {
        match self {
            Self::BatchNorm2d { name, channels, .. } => Some((name, *channels)),
            Self::Conv2d { .. }
            | Self::Relu
            | Self::Relu6
            | Self::Residual { .. }
            | Self::Concat { .. }
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool
            | Self::Flatten
            | Self::Linear { .. }
            | Self::Dropout { .. }
            | Self::SubsamplePad { .. } => None,
        }
    }

    fn own_parameters(&self, found: &mut Vec<Parameter>) {
        let mut push = |name: &str, suffix: &str, shape: Vec<usize>, kind| {
            found.push(Parameter {
                name: format!("{name}.{suffix}"),
                shape,
                kind,
            });
        };
        match self {
            Self::Conv2d {
                name,
                in_channels,
                out_channels,
                kernel,
                groups,
                bias,
                zero_weight,
                ..
            } => {
                // A model is checked before it is used; a layer alone may be asked for its parameters all the same.
                let inputs = in_channels / (*groups).max(1);
                let shape = vec![*out_channels, inputs, *kernel, *kernel];
                let kind = match zero_weight {
                    true => ParameterKind::ZeroWeight,
                    false => ParameterKind::ConvWeight,
                };
                push(name, "weight", shape, kind);
                if *bias {
                    push(name, "bias", vec![*out_channels], ParameterKind::Bias);
                }
            }
            Self::BatchNorm2d { name, channels, .. } => {
                push(name, "weight", vec![*channels], ParameterKind::Scale);
                push(name, "bias", vec![*channels], ParameterKind::Shift);
            }
            Self::Linear {
                name,
                inputs,
                outputs,
                bias,
                zero_weight,
            } => {
                let kind = match zero_weight {
                    true => ParameterKind::ZeroWeight,
                    false => ParameterKind::LinearWeight,
                };
                push(name, "weight", vec![*outputs, *inputs], kind);
                if *bias {
                    push(name, "bias", vec![*outputs], ParameterKind::Bias);
                }
            }
            Self::Relu
            | Self::Relu6
            | Self::Residual { .. }
            | Self::Concat { .. }
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::SubsamplePad { .. } => {}
        }
    }
}
