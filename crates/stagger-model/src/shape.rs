//! Shape inference: what a layer makes of the shape of its input, without the batch dimension.

use crate::layer::Layer;

/// Why a layer cannot take the shape that it is given, or has settings that fit no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// The number of dimensions is wrong.
    #[error("layer `{layer}` expects an input of shape {expected} but gets {found:?}; {advice}")]
    Rank {
        /// The layer's label.
        layer: String,
        /// The form of shape that it takes, such as `[C, H, W]`.
        expected: &'static str,
        /// The shape that it gets.
        found: Vec<usize>,
        /// What usually mends it.
        advice: &'static str,
    },
    /// The number of channels is wrong.
    #[error(
        "layer `{layer}` expects {expected} channels but its input of shape {found:?} has {}; \
         change its channels or those of the layer before it",
        found[0]
    )]
    Channels {
        /// The layer's label.
        layer: String,
        /// The number of channels that it takes.
        expected: usize,
        /// The whole shape that it gets.
        found: [usize; 3],
    },
    /// The number of features is wrong.
    #[error(
        "layer `{layer}` expects {expected} features but gets {found}; change its `inputs` to {found}"
    )]
    Features {
        /// The layer's label.
        layer: String,
        /// The number of features that it takes.
        expected: usize,
        /// The number that it gets.
        found: usize,
    },
    /// A window does not fit into the padded image.
    #[error(
        "layer `{layer}` expects an image of at least {expected}x{expected} pixels but its input of shape \
         {found:?} is {}x{}; use larger images or fewer layers that shrink them",
        found[1], found[2]
    )]
    Window {
        /// The layer's label.
        layer: String,
        /// The smallest side, in pixels, that holds one window.
        expected: usize,
        /// The whole shape that it gets.
        found: [usize; 3],
    },
    /// The two branches of a residual end in different shapes.
    #[error(
        "the residual around `{layer}` adds its body of shape {body:?} to its shortcut of shape {shortcut:?}; \
         give the shortcut the same channels and stride as the body"
    )]
    Branches {
        /// Label of the first layer of the body.
        layer: String,
        /// Shape at the end of the body.
        body: Vec<usize>,
        /// Shape at the end of the shortcut.
        shortcut: Vec<usize>,
    },
    /// The body of a concatenation changes the size of the image.
    #[error(
        "the concatenation around `{layer}` joins its body of shape {body:?} to its input of shape {input:?}; \
         give them the same height and width"
    )]
    Beside {
        /// Label of the first layer of the body.
        layer: String,
        /// Shape at the end of the body.
        body: Vec<usize>,
        /// Shape of the input.
        input: Vec<usize>,
    },
    /// A setting of the layer is out of range, whatever the input.
    #[error("layer `{layer}` has {setting} = {found}; expected {expected}")]
    Setting {
        /// The layer's label.
        layer: String,
        /// The field.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The range that makes sense.
        expected: String,
    },
}

impl Layer {
    /// The shape of the output for one sample (`[C, H, W]` or `[F]`, no batch dimension), given that of the input.
    ///
    /// # Errors
    /// [`ShapeError`] when the input does not fit the layer, when the branches of a residual end differently, or
    /// when a setting (kernel 0, probability 2, …) fits no input.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        match self {
            Self::Conv2d {
                in_channels,
                out_channels,
                kernel,
                stride,
                padding,
                groups,
                ..
            } => {
                self.at_least_one("in_channels", *in_channels)?;
                self.at_least_one("out_channels", *out_channels)?;
                let divides = |channels: &usize| channels.checked_rem(*groups) == Some(0);
                if !divides(in_channels) || !divides(out_channels) {
                    let expected = format!(
                        "a divisor of in_channels = {in_channels} and out_channels = {out_channels}"
                    );
                    return Err(self.setting("groups", groups, expected));
                }
                let image = self.image(input, Some(*in_channels))?;
                // More gives outputs that see nothing but zeros, and takes memory by the square.
                let most = image[1].max(image[2]).max(*kernel);
                if *padding > most {
                    let expected =
                        format!("at most {most}, as long as a side of its image or kernel");
                    return Err(self.setting("padding", padding, expected));
                }
                let [height, width] = self.windows(image, *kernel, *stride, *padding)?;
                Ok(vec![*out_channels, height, width])
            }
            Self::BatchNorm2d {
                channels,
                epsilon,
                momentum,
                ..
            } => {
                // With more, what is normalised is next to nothing.
                let sensible = *epsilon > 0.0 && *epsilon <= 1.0;
                let expected = "a number above 0 and at most 1";
                self.within("epsilon", *epsilon, sensible, expected)?;
                let share = (0.0..=1.0).contains(momentum);
                self.within("momentum", *momentum, share, "a number from 0 to 1")?;
                Ok(self.image(input, Some(*channels))?.to_vec())
            }
            Self::Relu | Self::Relu6 => Ok(input.to_vec()),
            Self::Residual { body, shortcut } => {
                let main = output_shape(body, input)?;
                let other = output_shape(shortcut, input)?;
                if main != other {
                    let layer = body.first().unwrap_or(self).label().to_owned();
                    return Err(ShapeError::Branches {
                        layer,
                        body: main,
                        shortcut: other,
                    });
                }
                Ok(main)
            }
            Self::Concat { body } => {
                let image = self.image(input, None)?;
                let main = output_shape(body, input)?;
                match main[..] {
                    [channels, height, width] if [height, width] == image[1..] => {
                        Ok(vec![image[0].saturating_add(channels), height, width])
                    }
                    _ => Err(ShapeError::Beside {
                        layer: body.first().unwrap_or(self).label().to_owned(),
                        body: main,
                        input: input.to_vec(),
                    }),
                }
            }
            Self::MaxPool2d {
                kernel,
                stride,
                padding,
            }
            | Self::AvgPool2d {
                kernel,
                stride,
                padding,
            } => {
                if *padding > kernel / 2 {
                    return Err(self.setting(
                        "padding",
                        padding,
                        format!("at most {}", kernel / 2),
                    ));
                }
                let image = self.image(input, None)?;
                let [height, width] = self.windows(image, *kernel, *stride, *padding)?;
                Ok(vec![image[0], height, width])
            }
            Self::GlobalAvgPool => Ok(vec![self.image(input, None)?[0], 1, 1]),
            Self::Flatten => Ok(vec![
                input
                    .iter()
                    .fold(1, |size: usize, &side| size.saturating_mul(side)),
            ]),
            Self::Linear {
                inputs, outputs, ..
            } => {
                self.at_least_one("inputs", *inputs)?;
                self.at_least_one("outputs", *outputs)?;
                match *input {
                    [features] if features == *inputs => Ok(vec![*outputs]),
                    [found] => Err(ShapeError::Features {
                        layer: self.label().to_owned(),
                        expected: *inputs,
                        found,
                    }),
                    _ => Err(self.rank("[F]", input, "put a flatten layer before it")),
                }
            }
            Self::Dropout { probability, .. } => {
                let sensible = (0.0..1.0).contains(probability);
                self.within(
                    "probability",
                    *probability,
                    sensible,
                    "at least 0 and below 1",
                )?;
                Ok(input.to_vec())
            }
            Self::SubsamplePad {
                stride,
                in_channels,
                out_channels,
            } => {
                self.at_least_one("stride", *stride)?;
                let image = self.image(input, Some(*in_channels))?;
                if out_channels < in_channels || !(out_channels - in_channels).is_multiple_of(2) {
                    let expected = format!("in_channels = {in_channels} plus an even number");
                    return Err(self.setting("out_channels", out_channels, expected));
                }
                Ok(vec![
                    *out_channels,
                    image[1].div_ceil(*stride),
                    image[2].div_ceil(*stride),
                ])
            }
        }
    }

    fn image(&self, input: &[usize], channels: Option<usize>) -> Result<[usize; 3], ShapeError> {
        let Ok(image) = <[usize; 3]>::try_from(input) else {
            let advice = "it works on images, so put it before the flatten layer";
            return Err(self.rank("[C, H, W]", input, advice));
        };
        match channels {
            Some(expected) if expected != image[0] => Err(ShapeError::Channels {
                layer: self.label().to_owned(),
                expected,
                found: image,
            }),
            _ => Ok(image),
        }
    }

    /// Height and width of the output of a sliding window.
    fn windows(
        &self,
        image: [usize; 3],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<[usize; 2], ShapeError> {
        self.at_least_one("kernel", kernel)?;
        self.at_least_one("stride", stride)?;
        let smallest = kernel.saturating_sub(padding.saturating_mul(2)).max(1);
        if image[1].min(image[2]) < smallest {
            return Err(ShapeError::Window {
                layer: self.label().to_owned(),
                expected: smallest,
                found: image,
            });
        }
        let slide = |side: usize| {
            side.saturating_add(padding.saturating_mul(2))
                .saturating_sub(kernel)
                / stride
                + 1
        };
        Ok([slide(image[1]), slide(image[2])])
    }

    fn rank(&self, expected: &'static str, found: &[usize], advice: &'static str) -> ShapeError {
        let layer = self.label().to_owned();
        ShapeError::Rank {
            layer,
            expected,
            found: found.to_vec(),
            advice,
        }
    }

    fn at_least_one(&self, setting: &'static str, value: usize) -> Result<(), ShapeError> {
        if value == 0 {
            return Err(self.setting(setting, value, "at least 1"));
        }
        Ok(())
    }

    fn within(
        &self,
        setting: &'static str,
        value: f64,
        sensible: bool,
        expected: &str,
    ) -> Result<(), ShapeError> {
        if sensible {
            Ok(())
        } else {
            Err(self.setting(setting, value, expected))
        }
    }

    fn setting(
        &self,
        setting: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> ShapeError {
        ShapeError::Setting {
            layer: self.label().to_owned(),
            setting,
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

/// The shape after a sequence of layers; that of the input when there is none.
///
/// # Errors
/// The [`ShapeError`] of the first layer that does not fit.
pub fn output_shape(layers: &[Layer], input: &[usize]) -> Result<Vec<usize>, ShapeError> {
    layers
        .iter()
        .try_fold(input.to_vec(), |shape, layer| layer.output_shape(&shape))
}

/// The number of elements of a shape; the largest `u64` where it would not fit.
pub fn elements(shape: &[usize]) -> u64 {
    shape
        .iter()
        .fold(1, |size: u64, &side| size.saturating_mul(side as u64))
}
