//! Stages as layers over kernels: what every engine shares.
//!
//! There is no autodiff graph. Each layer calls its kernel forward, keeps what its own backward needs in a `Pullback`,
//! and a stage's backward runs these in reverse. A pass therefore stays on the thread of its stage, takes no global lock, keeps
//! nothing that is not read, and computes nothing that is not asked for.
//!
//! [`Kernels`] is what an engine has to bring.

mod activation;
mod kernels;
pub(crate) mod layer;
pub(crate) mod parameters;
mod product;
mod stage;
pub(crate) mod timing;

pub use activation::LayeredActivation;
pub use kernels::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};
pub use stage::{LayeredGraph, LayeredPending, LayeredStage, Position, Statistics, Weights};
