//! Loops over channels-last images as plain slices, without a tensor library.
//!
//! A slice holds `[N, H, W, C]` without gaps: a pixel's channels lie side by side, so that vector instructions run over
//! channels whatever the image's size. Elements are `f32` or [`Bf16`]; arithmetic is `f32`, and sums over pixels move
//! on to `f64` every few thousand values.
//!
//! [`pulp`] picks the widest instruction set at run time. Products and sums are never fused, so that every instruction
//! set gives the same bits. So does every number of threads ([`Parallel`]): work is cut into chunks whose size depends
//! on the number of channels alone, and their sums are folded in order.

mod average_pool;
mod bf16;
mod element;
mod elementwise;
mod formula;
mod gradient;
mod moments;
mod normalize;
mod operands;
mod parallel;
mod rows;
mod run;
mod subsample;
mod walk;

#[cfg(test)]
pub(crate) mod agreement;

use pulp::Arch;

pub use average_pool::{average_pool, average_pool_backward};
pub use element::{Bf16, Element};
pub use elementwise::{blend, cast, relu, relu_backward, relu6, relu6_backward, sum};
pub use formula::{Binary, Unary};
pub use gradient::{Cut, GradientSums, Line, gradient_sums, mask_gradient_sums, pull};
pub use moments::{Moments, channel_sums, moments};
pub use normalize::{Affine, normalize, normalize_add};
pub use parallel::{Parallel, Serial};
pub use run::{Run, put_run, take_run};
pub use subsample::{Subsample, subsample, subsample_backward};

pub(crate) use parallel::{part_len, spread};

/// How a slice is cut into pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// N
    pub samples: usize,
    /// H
    pub height: usize,
    /// W
    pub width: usize,
    /// C
    pub channels: usize,
}

impl Images {
    /// Values in all images.
    pub fn len(self) -> usize {
        self.samples * self.height * self.width * self.channels
    }

    /// Whether there is no value at all.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The name of the widest instruction set that the machine has, as in `v4`. Sums run in other orders with another one, so
/// the last bits of results differ.
pub fn instruction_set() -> String {
    format!("{:?}", Arch::new()).to_lowercase()
}

/// The widest instruction set that the machine has.
pub(crate) fn arch() -> Arch {
    #[cfg(test)]
    if let Some(arch) = agreement::FORCED.get() {
        return arch;
    }
    Arch::new()
}
