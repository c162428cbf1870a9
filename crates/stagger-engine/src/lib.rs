//! Engines that turn a slice of a model into an executable stage, and optimizers.
//!
//! [`Stage`] is the seam: whoever executes a schedule sees nothing but it. [`layered::LayeredStage`] implements it
//! with layers over [`layered::Kernels`], which an engine brings. With [`burn::CpuStage`], the pure-Rust CPU engine, all
//! of a stage's work happens on the thread that calls it, and the numbers depend on neither timing nor other threads.

pub mod burn;
pub mod channels_last;
mod error;
mod fused_step;
mod initial;
pub mod layered;
mod learning_rate;
mod loss;
mod optimizer;
mod precision;
mod profile;
mod random;
mod stage;
mod state;
mod tensor;
#[cfg(feature = "torch")]
pub mod torch;

pub use error::EngineError;
pub use fused_step::Parameter;
pub use initial::initial_values;
pub use learning_rate::{Decay, LearningRate, Warmup};
pub use loss::{Loss, LossOnHost, MseLoss, Score, cross_entropy};
pub use optimizer::{Optimizer, OptimizerError, WeightDecay};
pub use precision::{Precision, UnknownPrecision};
pub use profile::Profile;
pub use random::dropout_mask;
pub use stage::{Activation, Distance, Stage, StageSpec, UpdateReport};
pub use state::StageState;
pub use tensor::HostTensor;
