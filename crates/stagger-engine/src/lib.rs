//! What an engine is: [`Stage`], a slice of a model that can be executed; layers over kernels; optimizers, learning rates and
//! the loss.
//!
//! [`Stage`] is the seam: an executor of a schedule sees nothing else of an engine. [`layered::LayeredStage`] implements it with
//! layers over [`layered::Kernels`], which an engine brings: `stagger-cpu` and `stagger-torch` do.
//!
//! **Invariant:** this crate knows no tensor library, and no schedule.

mod error;
mod initial;
pub mod layered;
mod learning_rate;
mod loss;
mod optimizer;
mod precision;
mod profile;
mod random;
mod replicas;
mod stage;
mod state;
mod tensor;

pub use error::EngineError;
pub use initial::initial_values;
pub use learning_rate::{Decay, LearningRate, LearningRateError, Warmup};
pub use loss::{Loss, LossOnHost, MixedLabels, MseLoss, Score, cross_entropy, mixed_cross_entropy};
pub use optimizer::{Optimizer, OptimizerError, StepOf, WeightDecay};
pub use precision::{Precision, UnknownPrecision};
pub use profile::Profile;
pub use random::dropout_mask;
pub use replicas::AcrossReplicas;
pub use stage::{Activation, Distance, Stage, StageSpec, UpdateReport};
pub use state::StageState;
pub use tensor::HostTensor;
