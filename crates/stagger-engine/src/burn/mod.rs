//! Engine `burn`: stages over the operations of Burn's backends.
//!
//! There is no autodiff graph. Each layer calls its backend's operation forward, keeps what its own backward needs
//! in a `Pullback`, and a stage's backward runs these in reverse. A pass therefore stays on its one thread,
//! takes no global lock, and computes nothing that is not asked for.
//!
//! Everything is generic over [`Kernels`]: any Burn backend can implement it with an empty `impl`; the CPU backend
//! Flex overrides what measured slow.

mod activation;
mod convert;
mod flex;
mod kernels;
mod layer;
mod parameters;
mod stage;
mod step;

#[cfg(test)]
mod gradient_check;

pub use activation::BurnActivation;
pub use kernels::{
    Convolution, ConvolutionGrads, ConvolutionWants, Kernels, Normalization, NormalizationGrads,
    Normalized, Subsample,
};
pub use stage::{BurnGraph, BurnStage, Weights};

/// A stage on the CPU, in pure Rust, on the calling thread.
pub type CpuStage = BurnStage<burn_flex::Flex>;
