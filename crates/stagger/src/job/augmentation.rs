//! How training images are varied, and what that asks of the data set.

use stagger_data::{Augmentation, ColorJitter, Framing, Mixing, RandAugment, Split};

use super::Given;
use crate::error::Error;
use crate::options::{Augment, TrainingOptions};
use crate::refusal::{Refusal, said_number};

/// Operations of RandAugment on one image, at most.
const MOST_OPERATIONS: usize = 100;

/// How pictures are brought to their size, which follows from how they are cropped in training.
pub(super) fn framing(options: &TrainingOptions) -> Framing {
    match options.augment {
        Some(Augment::ImageNet) => Framing::CentreCrop,
        _ => Framing::LargestPart,
    }
}

/// Refuses crops of pictures where there are none, or without a size to bring them to; `dataset` is the name of the data set, and
/// `has_pictures` says whether its images are cut from pictures of any size.
pub(super) fn refuse_unused(
    options: &TrainingOptions,
    dataset: &str,
    has_pictures: bool,
    given: &Given,
) -> Result<(), Refusal> {
    if options.augment != Some(Augment::ImageNet) {
        return Ok(());
    }
    if !has_pictures {
        return Err(Refusal::NoPictures {
            dataset: dataset.to_owned(),
        });
    }
    match &given.split {
        Some(split) if split.train.framing() != Framing::CentreCrop => Err(Refusal::Fixed {
            option: "augment",
            by: "data set",
        }),
        None if options.image_size.is_none() => Err(Refusal::NoImageSize),
        _ => Ok(()),
    }
}

fn alpha(option: &'static str, said: Option<f64>) -> Result<Option<f64>, Refusal> {
    match said {
        Some(alpha) if !(alpha > 0.0 && alpha <= Mixing::MOST) => Err(Refusal::Value {
            option,
            found: said_number(alpha),
            kind: "an α of a beta distribution",
            expected: "a number above 0 and up to 10, such as 0.2",
        }),
        said => Ok(said),
    }
}

/// Puts what is said into the data.
///
/// # Errors
/// [`Refusal::Value`]; [`Refusal::Unused`] without augmentation; where images have other than three channels.
pub(super) fn apply(options: &TrainingOptions, split: &mut Split) -> Result<(), Error> {
    let (color_jitter, rand_augment) = (color_jitter(options)?, rand_augment(options)?);
    let erasing = erasing(options)?;
    if options.augment == Some(Augment::Off) {
        for (option, is_said) in [
            ("color_jitter", color_jitter.is_some()),
            ("rand_augment", rand_augment.is_some()),
            ("random_erasing", erasing > 0.0),
        ] {
            if is_said {
                return Err(Refusal::Unused {
                    option,
                    beside: "augment",
                    found: "false".to_owned(),
                    expected: "true or imagenet",
                }
                .into());
            }
        }
        split.augmentation = Augmentation::NONE;
    }
    let augmentation = &mut split.augmentation;
    augmentation.color_jitter = color_jitter.or(augmentation.color_jitter);
    augmentation.rand_augment = rand_augment.or(augmentation.rand_augment);
    if options.random_erasing.is_some() {
        augmentation.erasing = erasing;
    }
    augmentation.mixing = Mixing {
        mixup: alpha("mixup", options.mixup)?.or(augmentation.mixing.mixup),
        cutmix: alpha("cutmix", options.cutmix)?.or(augmentation.mixing.cutmix),
    };
    split.validate_augmentation()?;
    Ok(())
}

fn color_jitter(options: &TrainingOptions) -> Result<Option<ColorJitter>, Refusal> {
    let Some(said) = &options.color_jitter else {
        return Ok(None);
    };
    let is_factor = |most: f64| most.is_finite() && most >= 0.0;
    match said[..] {
        [brightness, contrast, saturation, hue]
            if [brightness, contrast, saturation]
                .into_iter()
                .all(is_factor)
                && (0.0..=0.5).contains(&hue) =>
        {
            Ok(Some(ColorJitter {
                brightness: brightness as f32,
                contrast: contrast as f32,
                saturation: saturation as f32,
                hue: hue as f32,
            }))
        }
        _ => Err(Refusal::Value {
            option: "color_jitter",
            found: listed(said),
            kind: "how far brightness, contrast, saturation and hue may change",
            expected: "three numbers of 0 or more and one from 0 to 0.5, such as 0.4,0.4,0.4,0.1",
        }),
    }
}

fn rand_augment(options: &TrainingOptions) -> Result<Option<RandAugment>, Refusal> {
    let Some(said) = &options.rand_augment else {
        return Ok(None);
    };
    match said[..] {
        [
            operations @ 1..=MOST_OPERATIONS,
            magnitude @ 0..=RandAugment::MOST,
        ] => Ok(Some(RandAugment {
            operations,
            magnitude,
        })),
        _ => Err(Refusal::Value {
            option: "rand_augment",
            found: listed(said),
            kind: "a number of operations and their magnitude",
            expected: "1 to 100 and 0 to 30, such as 2,9",
        }),
    }
}

fn erasing(options: &TrainingOptions) -> Result<f32, Refusal> {
    match options.random_erasing {
        None => Ok(0.0),
        Some(probability) if (0.0..=1.0).contains(&probability) => Ok(probability as f32),
        Some(found) => Err(Refusal::Value {
            option: "random_erasing",
            found: said_number(found),
            kind: "a probability",
            expected: "a number from 0 to 1, such as 0.1",
        }),
    }
}

fn listed<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    values.join(",")
}
