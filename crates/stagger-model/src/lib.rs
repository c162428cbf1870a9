//! Convolutional networks as data: layers, model zoo, cost, cutting into stages.
//!
//! A [`Model`] is a list of [`Block`]s of [`Layer`]s. Shapes, parameters, initial distributions and cost follow from
//! it without a tensor library, and models can be written to and read from files through serde.
//!
//! ```
//! use stagger_model::{Balance, Model};
//!
//! let model = Model::by_name("resnet20", [3, 32, 32], 10)?;
//! assert_eq!(model.parameter_count(), 269_722);
//!
//! // Two stages, the first of which recomputes its forward pass.
//! let cut = "auto".parse::<Balance>()?.cut(&model, &[true, false], None)?;
//! assert_eq!(cut.stages().len(), 2);
//! assert_eq!(model.stage_input_shape(cut.stages()[1].start)?, [16, 32, 32]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod block_costs;
mod cost;
mod cut;
mod cut_error;
mod error;
mod init;
mod layer;
mod layer_rows;
mod memory_limit;
mod model;
mod model_file;
mod parameter;
mod partition;
pub mod quantity;
mod shape;
mod summary;
mod synthesizer;
mod table;
mod zoo;

pub use block::Block;
pub use block_costs::{BlockCosts, CostModel};
pub use cost::Cost;
pub use cut::{Balance, Cut, StageWork};
pub use cut_error::CutError;
pub use error::ModelError;
pub use init::Initializer;
pub use layer::{DEFAULT_EPSILON, DEFAULT_MOMENTUM, Layer};
pub use memory_limit::MemoryLimit;
pub use model::Model;
pub use model_file::ModelFileError;
pub use parameter::{Buffer, BufferKind, Parameter, ParameterKind};
pub use shape::{ShapeError, elements, output_shape};
pub use summary::{StageMemory, StageSummaryInput, SummaryTime, summary};
pub use synthesizer::{SYNTHESIZER_BLOCK, synthesizer};
pub use zoo::MODEL_NAMES;
