//! What training images go through.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How training images are varied: option `augment`. In files it is `true`, `false` or `"imagenet"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augment {
    /// As they are.
    Off,
    /// Random crops of the padded image, and flips: whatever suits the data set.
    CropAndFlip,
    /// Random resized crops of pictures, and flips; evaluation resizes the shorter side and cuts out the centre.
    ImageNet,
}

const IMAGENET: &str = "imagenet";
const EXPECTED: &str = "a boolean, or \"imagenet\"";

impl Augment {
    /// The words that stand for them.
    pub const WORDS: [&str; 3] = ["true", "false", IMAGENET];
}

impl From<bool> for Augment {
    fn from(is_on: bool) -> Self {
        match is_on {
            true => Self::CropAndFlip,
            false => Self::Off,
        }
    }
}

impl FromStr for Augment {
    type Err = String;

    /// Reads one of [`Augment::WORDS`].
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::CropAndFlip),
            "false" => Ok(Self::Off),
            IMAGENET => Ok(Self::ImageNet),
            _ => Err(format!("use {}", Self::WORDS.join(", "))),
        }
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CropAndFlip => "true",
            Self::Off => "false",
            Self::ImageNet => IMAGENET,
        })
    }
}

impl Serialize for Augment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::CropAndFlip => serializer.serialize_bool(true),
            Self::ImageNet => serializer.serialize_str(IMAGENET),
        }
    }
}

impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoolOrName)
    }
}

struct BoolOrName;

impl Visitor<'_> for BoolOrName {
    type Value = Augment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Augment, E> {
        Ok(is_on.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Augment, E> {
        match text {
            IMAGENET => Ok(Augment::ImageNet),
            _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::{parse, write};
    use crate::options::TrainingOptions;

    #[test]
    fn files_of_before_mean_what_they_meant() {
        for (text, expected) in [
            ("augment = true\n", Augment::CropAndFlip),
            ("augment = false\n", Augment::Off),
            ("augment = \"imagenet\"\n", Augment::ImageNet),
        ] {
            let options = parse(text).unwrap();
            assert_eq!(options.augment, Some(expected));
            let written = TrainingOptions {
                augment: Some(expected),
                ..TrainingOptions::default()
            };
            assert_eq!(write(&written).unwrap(), text);
        }
        for text in [
            "augment = 1",
            "augment = \"true\"",
            "augment = \"ImageNet\"",
        ] {
            let message = parse(text).unwrap_err();
            assert!(
                message.ends_with("expected true or false, without quotes, or \"imagenet\""),
                "{message}"
            );
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in Augment::WORDS {
            assert_eq!(word.parse::<Augment>().unwrap().to_string(), word);
        }
        assert!("yes".parse::<Augment>().is_err());
    }
}
