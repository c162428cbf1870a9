//! Number formats of a stage.

use std::fmt;
use std::str::FromStr;

/// The format in which a stage computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floating point throughout.
    #[default]
    F32,
    /// Activations, their gradients and the operands of convolutions and linear layers in bfloat16, with sums in 32
    /// bits. Master weights, optimizer state, batch normalisation's parameters, statistics and arithmetic, and the
    /// loss stay in 32 bits.
    Bf16,
    /// 64-bit floating point throughout: for checking gradients.
    F64,
}

impl Precision {
    /// Bytes of one activation value.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The format of what is kept from step to step: weights, optimizer state, statistics.
    #[must_use]
    pub fn master(self) -> Self {
        match self {
            Self::Bf16 => Self::F32,
            other => other,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        })
    }
}

/// A name that is no [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no number format `{found}`; use f32, bf16 or f64")]
pub struct UnknownPrecision {
    /// The name.
    pub found: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f64" => Ok(Self::F64),
            _ => Err(UnknownPrecision {
                found: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in [Precision::F32, Precision::Bf16, Precision::F64] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let error = "half".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no number format `half`; use f32, bf16 or f64"
        );
    }
}
