//! The model zoo: published networks by name.

mod cifar_resnet;
mod cifar_resnet18;
mod densenet;
mod imagenet_resnet;
mod mobilenet_v2;
mod names;
mod preactivation_resnet;
mod resnext;
mod vgg;
mod wide_resnet;

use crate::block::Block;
use crate::error::ModelError;
use crate::model::{Model, check_input};

pub use names::MODEL_NAMES;

/// A network of the zoo: what a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Basic blocks, 6n + 2 layers.
    CifarResnet { depth: usize },
    /// Pre-activation bottlenecks, 9n + 2 layers.
    PreactivationResnet { depth: usize },
    /// ResNet-18 with a stem for small images.
    CifarResnet18,
    /// Basic blocks or bottlenecks for large images, by its number of layers.
    ImagenetResnet { depth: usize },
    /// The same with bottlenecks in groups.
    ImagenetResnext {
        depth: usize,
        cardinality: Cardinality,
    },
    /// Bottlenecks in groups for small images, 9n + 2 layers.
    Resnext {
        depth: usize,
        cardinality: Cardinality,
    },
    /// Pre-activation basic blocks, 6n + 4 layers, and how many times the channels.
    WideResnet { depth: usize, widening: usize },
    /// Dense layers with bottlenecks, 6n + 4 layers, and the channels that each adds.
    DensenetBc { depth: usize, growth: usize },
    /// Inverted residuals with depthwise convolutions.
    MobilenetV2,
    /// VGG with batch normalisation, by its number of layers.
    Vgg { depth: usize },
}

/// How the 3×3 convolutions of a ResNeXt are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cardinality {
    /// C, how many groups.
    groups: usize,
    /// d, the channels of each in the first blocks.
    width: usize,
}

impl Cardinality {
    /// Channels of all groups in the first blocks.
    fn channels(self) -> usize {
        self.groups * self.width
    }
}

impl Network {
    /// The name in the form that the zoo lists.
    fn name(self) -> String {
        match self {
            // Alone of its kind under the short name.
            Self::PreactivationResnet { depth: 164 } => "resnet164".to_owned(),
            Self::PreactivationResnet { depth } => format!("preact-resnet{depth}"),
            Self::CifarResnet { depth } | Self::ImagenetResnet { depth } => {
                format!("resnet{depth}")
            }
            Self::ImagenetResnext { depth, cardinality } | Self::Resnext { depth, cardinality } => {
                let Cardinality { groups, width } = cardinality;
                format!("resnext{depth}-{groups}x{width}d")
            }
            Self::WideResnet { depth, widening } => format!("wrn-{depth}-{widening}"),
            Self::CifarResnet18 => "resnet18-cifar".to_owned(),
            Self::DensenetBc { depth, growth } => format!("densenet-bc-{depth}-{growth}"),
            Self::MobilenetV2 => "mobilenet-v2".to_owned(),
            Self::Vgg { depth } => format!("vgg{depth}-bn"),
        }
    }

    /// How many times it halves the sides of the image.
    fn halvings(self) -> u32 {
        match self {
            Self::CifarResnet { .. }
            | Self::PreactivationResnet { .. }
            | Self::Resnext { .. }
            | Self::DensenetBc { .. }
            | Self::WideResnet { .. } => 2,
            Self::CifarResnet18 => 3,
            Self::ImagenetResnet { .. }
            | Self::ImagenetResnext { .. }
            | Self::MobilenetV2
            | Self::Vgg { .. } => 5,
        }
    }

    fn blocks(self, channels: usize, classes: usize) -> Vec<Block> {
        match self {
            Self::CifarResnet { depth } => cifar_resnet::blocks(depth, channels, classes),
            Self::PreactivationResnet { depth } => {
                preactivation_resnet::blocks(depth, channels, classes)
            }
            Self::CifarResnet18 => cifar_resnet18::blocks(channels, classes),
            Self::ImagenetResnet { depth } => {
                imagenet_resnet::blocks(depth, None, channels, classes)
            }
            Self::ImagenetResnext { depth, cardinality } => {
                imagenet_resnet::blocks(depth, Some(cardinality), channels, classes)
            }
            Self::Resnext { depth, cardinality } => {
                resnext::blocks(depth, cardinality, channels, classes)
            }
            Self::WideResnet { depth, widening } => {
                wide_resnet::blocks(depth, widening, channels, classes)
            }
            Self::DensenetBc { depth, growth } => {
                densenet::blocks(depth, growth, channels, classes)
            }
            Self::MobilenetV2 => mobilenet_v2::blocks(channels, classes),
            Self::Vgg { depth } => vgg::blocks(depth, channels, classes),
        }
    }
}

/// Whether a network of the zoo has this name, however it is written.
pub(crate) fn has(name: &str) -> bool {
    names::network(name).is_ok()
}

impl Model {
    /// The zoo's model of this name, for images of `input` = `[channels, height, width]`.
    ///
    /// | names | network |
    /// | --- | --- |
    /// | `resnet8`, `resnet20`, …, every `resnetN` with N = 6n + 2 | basic blocks, 16/32/64 channels, option A shortcuts |
    /// | `preact-resnet110`, `resnet164`, `preact-resnet1001`, every `preact-resnetN` with N = 9n + 2 | pre-activation bottlenecks |
    /// | `wrn-16-8`, `wrn-28-10`, every `wrn-N-W` with N = 6n + 4 | wide residual networks, W times 16/32/64 channels |
    /// | `resnext29-8x64d`, every `resnextN-CxWd` with N = 9n + 2 | bottlenecks with 3×3 convolutions in C groups of W, 2W and 4W channels |
    /// | `resnext50-32x4d`, every `resnextN-CxWd` with N = 50, 101 or 152 | those of ImageNet, as in torchvision |
    /// | `densenet-bc-100-12`, every `densenet-bc-L-K` with L = 6n + 4 | dense layers with bottlenecks, K channels each, and half of the channels behind a group |
    /// | `resnet18-cifar` | ResNet-18 with a 3×3 stem and no pooling behind it |
    /// | `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152` | those of ImageNet, as in torchvision |
    /// | `mobilenet-v2` | MobileNet-V2, as in torchvision |
    /// | `vgg11-bn`, `vgg16-bn`, also `vgg11`, `vgg16` | VGG with batch normalisation and one linear classifier |
    ///
    /// Upper and lower case, `-` and `_` make no difference.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for the name; [`ModelError::EmptyInput`],
    /// [`ModelError::InputTooLarge`], [`ModelError::InputTooSmall`] or [`ModelError::NoClasses`] for the rest.
    pub fn by_name(name: &str, input: [usize; 3], classes: usize) -> Result<Self, ModelError> {
        let network = names::network(name)?;
        let model = network.name();
        check_input(&model, input)?;
        let halvings = network.halvings();
        let smallest = 1 << halvings;
        if input[1].min(input[2]) < smallest {
            return Err(ModelError::InputTooSmall {
                model,
                smallest,
                halvings,
                found: input,
            });
        }
        Self::new(model, input, classes, network.blocks(input[0], classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_builds_under_its_own_name_with_one_and_three_channels() {
        for name in MODEL_NAMES {
            for channels in [1, 3] {
                let model = Model::by_name(name, [channels, 32, 32], 7).unwrap();
                assert_eq!(model.name, name);
                assert_eq!(model.stage_input_shape(model.blocks.len()).unwrap(), [7]);
            }
        }
    }

    #[test]
    fn resnets_take_fashion_mnist_images() {
        let model = Model::by_name("resnet20", [1, 28, 28], 10).unwrap();
        let before_head = model.stage_input_shape(model.blocks.len() - 1).unwrap();
        assert_eq!(before_head, [64, 7, 7]);
    }

    #[test]
    fn images_that_are_too_small_are_refused_with_the_smallest_size() {
        let message = Model::by_name("vgg16", [3, 28, 28], 10)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "model `vgg16-bn` expects images of at least 32x32 pixels, since it halves them 5 times, \
             but they are 28x28; use larger images or a model that shrinks them less"
        );
        assert!(Model::by_name("resnet8", [3, 4, 4], 10).is_ok());
        assert!(Model::by_name("resnet8", [3, 3, 4], 10).is_err());
    }

    #[test]
    fn images_without_channels_and_models_without_classes_are_refused() {
        let message = Model::by_name("resnet8", [0, 32, 32], 10)
            .unwrap_err()
            .to_string();
        assert!(message.contains("gets [0, 32, 32]"), "{message}");
        let message = Model::by_name("resnet8", [3, 32, 32], 0)
            .unwrap_err()
            .to_string();
        assert!(message.contains("at least 1 class"), "{message}");
    }

    #[test]
    fn images_of_more_values_than_can_be_counted_with_are_refused() {
        let message = Model::by_name("resnet8", [3, 1 << 40, 1 << 40], 10)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "model `resnet8` expects an input of at most 4294967295 values but gets [3, 1099511627776, 1099511627776] \
             (channels, height, width); use smaller images"
        );
        assert!(Model::by_name("resnet8", [3, 32_768, 32_768], 10).is_ok());
    }
}
