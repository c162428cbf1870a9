//! One layer of a network, as data.

use std::ops::Not;

use serde::{Deserialize, Serialize};

/// One layer of a network. It holds no numbers, only what is needed to derive shapes, parameters and cost, and
/// for an engine to build the real thing.
///
/// Shapes in this crate leave out the batch dimension: `[C, H, W]` for images, `[F]` for feature vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// Cross-correlation with a square kernel: `[in_channels, H, W]` to `[out_channels, H', W']`,
    /// `H' = (H + 2·padding − kernel) / stride + 1` rounded down.
    ///
    /// With groups, the channels of input and output are cut into as many equal runs, and each run of outputs sums up its own run of
    /// inputs alone.
    Conv2d {
        /// Prefix of the parameter names, such as `layer1.0.conv1`.
        name: String,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
        /// Side of the square kernel, in pixels.
        kernel: usize,
        /// Step between two outputs, in pixels, the same in both directions.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros added on each of the four sides, in pixels.
        #[serde(default)]
        padding: usize,
        /// Runs of channels that do not mix; a divisor of both numbers of channels.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        groups: usize,
        /// Whether a bias per output channel is added.
        #[serde(default)]
        bias: bool,
        /// Whether the weight starts at 0 instead of at random.
        #[serde(default, skip_serializing_if = "Not::not")]
        zero_weight: bool,
    },
    /// Batch normalisation over N, H and W with a learnt scale and shift per channel (Ioffe and Szegedy 2015).
    BatchNorm2d {
        /// Prefix of the parameter and buffer names.
        name: String,
        /// Channels of input and output.
        channels: usize,
        /// Added to the variance before the square root.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// Weight of the new batch in the running statistics, as in PyTorch:
        /// `running = (1 − momentum) · running + momentum · batch`, with the unbiased variance.
        #[serde(default = "default_momentum")]
        momentum: f64,
    },
    /// `max(x, 0)`, any shape.
    Relu,
    /// `min(max(x, 0), 6)`, any shape.
    Relu6,
    /// `body(x) + shortcut(x)`, where an empty list is the identity. A ReLU after the sum is a layer of its own.
    Residual {
        /// The layers of the main branch.
        body: Vec<Layer>,
        /// The layers of the other branch; empty for the identity.
        #[serde(default)]
        shortcut: Vec<Layer>,
    },
    /// `[x, body(x)]` along channels: `[C, H, W]` to `[C + C', H, W]`.
    Concat {
        /// The layers whose output joins the input; it keeps the size of the image.
        body: Vec<Layer>,
    },
    /// Maximum over a square window, sizes rounded down as in [`Layer::Conv2d`]; padding never wins the maximum.
    MaxPool2d {
        /// Side of the square window, in pixels.
        kernel: usize,
        /// Step between two windows, in pixels.
        stride: usize,
        /// Pixels added on each side; at most half of `kernel`.
        #[serde(default)]
        padding: usize,
    },
    /// Mean over a square window, sizes rounded down as in [`Layer::Conv2d`]; padding counts as zeros, as in PyTorch.
    AvgPool2d {
        /// Side of the square window, in pixels.
        kernel: usize,
        /// Step between two windows, in pixels.
        stride: usize,
        /// Pixels added on each side; at most half of `kernel`.
        #[serde(default)]
        padding: usize,
    },
    /// Mean over H and W: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAvgPool,
    /// Any shape to `[F]`, in row-major order.
    Flatten,
    /// `W·x + b`: `[inputs]` to `[outputs]`.
    Linear {
        /// Prefix of the parameter names.
        name: String,
        /// Features of the input.
        inputs: usize,
        /// Features of the output.
        outputs: usize,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
        /// Whether the weight starts at 0 instead of at random.
        #[serde(default, skip_serializing_if = "Not::not")]
        zero_weight: bool,
    },
    /// Zeroes each element with the given probability in training and scales the rest by `1 / (1 − probability)`.
    Dropout {
        /// Name that keys the random stream, so that recomputing sees the mask of the forward (docs/algorithm.md,
        /// "Semantics that are easy to get wrong").
        name: String,
        /// Probability of zeroing, at least 0 and below 1.
        probability: f64,
    },
    /// The parameter-free shortcut "option A" of He et al. 2015 (§3.3): `x[:, :, ::stride, ::stride]`, with
    /// `(out_channels − in_channels) / 2` zero channels before and as many after.
    SubsamplePad {
        /// Step between the pixels that are kept.
        stride: usize,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output; at least `in_channels`, and the difference is even.
        out_channels: usize,
    },
}

/// PyTorch's default of [`Layer::BatchNorm2d`]'s `epsilon`.
pub const DEFAULT_EPSILON: f64 = 1e-5;
/// PyTorch's default of [`Layer::BatchNorm2d`]'s `momentum`.
pub const DEFAULT_MOMENTUM: f64 = 0.1;

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn yes() -> bool {
    true
}

fn default_epsilon() -> f64 {
    DEFAULT_EPSILON
}

fn default_momentum() -> f64 {
    DEFAULT_MOMENTUM
}

impl Layer {
    /// A 3×3 convolution with padding 1 and without bias.
    pub fn conv3x3(
        name: impl Into<String>,
        in_channels: usize,
        out_channels: usize,
        stride: usize,
    ) -> Self {
        Self::convolution(name.into(), [in_channels, out_channels], 3, stride)
    }

    /// A 1×1 convolution without padding and without bias.
    pub fn conv1x1(
        name: impl Into<String>,
        in_channels: usize,
        out_channels: usize,
        stride: usize,
    ) -> Self {
        Self::convolution(name.into(), [in_channels, out_channels], 1, stride)
    }

    /// A 3×3 convolution in groups with padding 1 and without bias; depthwise where there are as many groups as channels.
    pub fn grouped3x3(
        name: impl Into<String>,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        stride: usize,
    ) -> Self {
        Self::Conv2d {
            name: name.into(),
            in_channels,
            out_channels,
            kernel: 3,
            stride,
            padding: 1,
            groups,
            bias: false,
            zero_weight: false,
        }
    }

    /// A convolution without bias that keeps the size of the image at stride 1; `kernel` is odd.
    pub(crate) fn convolution(
        name: String,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        let [in_channels, out_channels] = channels;
        Self::Conv2d {
            name,
            in_channels,
            out_channels,
            kernel,
            stride,
            padding: kernel / 2,
            groups: 1,
            bias: false,
            zero_weight: false,
        }
    }

    /// Batch normalisation with PyTorch's default `epsilon` and `momentum`.
    pub fn batch_norm(name: impl Into<String>, channels: usize) -> Self {
        Self::BatchNorm2d {
            name: name.into(),
            channels,
            epsilon: DEFAULT_EPSILON,
            momentum: DEFAULT_MOMENTUM,
        }
    }

    /// A linear layer with bias.
    pub fn linear(name: impl Into<String>, inputs: usize, outputs: usize) -> Self {
        Self::Linear {
            name: name.into(),
            inputs,
            outputs,
            bias: true,
            zero_weight: false,
        }
    }

    /// The kind, spelt as in a model file: `conv2d`, `batch-norm2d`, `relu`, ….
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::BatchNorm2d { .. } => "batch-norm2d",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Residual { .. } => "residual",
            Self::Concat { .. } => "concat",
            Self::MaxPool2d { .. } => "max-pool2d",
            Self::AvgPool2d { .. } => "avg-pool2d",
            Self::GlobalAvgPool => "global-avg-pool",
            Self::Flatten => "flatten",
            Self::Linear { .. } => "linear",
            Self::Dropout { .. } => "dropout",
            Self::SubsamplePad { .. } => "subsample-pad",
        }
    }

    /// The layer's own name, where it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Conv2d { name, .. }
            | Self::BatchNorm2d { name, .. }
            | Self::Linear { name, .. }
            | Self::Dropout { name, .. } => Some(name),
            Self::Relu
            | Self::Relu6
            | Self::Residual { .. }
            | Self::Concat { .. }
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool
            | Self::Flatten
            | Self::SubsamplePad { .. } => None,
        }
    }

    /// What to call the layer in a message or a table: its name, else its kind.
    pub fn label(&self) -> &str {
        self.name().unwrap_or(self.kind())
    }

    /// Calls `visit` for this layer and, for one that holds others, then for every layer inside it: body, then shortcut.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Layer)) {
        visit(self);
        for layer in self.branches().into_iter().flatten().flatten() {
            layer.walk(visit);
        }
    }

    /// The layers inside, each branch of which gets the layer's input: body and shortcut of a residual, the body of a concatenation; `None`
    /// for a layer that holds no others.
    pub fn branches(&self) -> Option<Vec<&[Layer]>> {
        match self {
            Self::Residual { body, shortcut } => Some(vec![body, shortcut]),
            Self::Concat { body } => Some(vec![body]),
            Self::Conv2d { .. }
            | Self::BatchNorm2d { .. }
            | Self::Relu
            | Self::Relu6
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool
            | Self::Flatten
            | Self::Linear { .. }
            | Self::Dropout { .. }
            | Self::SubsamplePad { .. } => None,
        }
    }
}
