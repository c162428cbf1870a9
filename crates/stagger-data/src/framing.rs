//! How pictures become inputs of one size without any randomness.

/// How a picture is brought to the size of a network's inputs, to evaluate on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The largest centred part of the target's shape, resized.
    #[default]
    LargestPart,
    /// As evaluations on ImageNet are done: the shorter side is brought to 256/224 of the target, and the centre is cut out. So a
    /// margin is left out, as random resized crops leave most of it out in training. By torchvision's rounding: the longer side is
    /// rounded down, half a pixel of an offset to the even one.
    CentreCrop,
}

impl Framing {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LargestPart => "largest-part",
            Self::CentreCrop => "centre-crop",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::LargestPart, Self::CentreCrop]
            .into_iter()
            .find(|framing| framing.name() == name)
    }
}
