//! A block: layers that stay together when a model is cut.

use serde::{Deserialize, Serialize};

use crate::layer::Layer;
use crate::parameter::{Buffer, Parameter};
use crate::shape::{self, ShapeError};

/// Consecutive layers that always run on one stage. Cut points lie between blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// What tables and messages call it, such as `stem`, `layer2.0`, `head`.
    pub name: String,
    /// Its layers, in order.
    pub layers: Vec<Layer>,
}

impl Block {
    /// A block of these layers.
    pub fn new(name: impl Into<String>, layers: Vec<Layer>) -> Self {
        Self {
            name: name.into(),
            layers,
        }
    }

    /// The shape of the output for one sample, given that of the input.
    ///
    /// # Errors
    /// The [`ShapeError`] of the first layer that does not fit.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
        shape::output_shape(&self.layers, input)
    }

    /// The parameters of all layers, in order.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.layers.iter().flat_map(Layer::parameters).collect()
    }

    /// The buffers of all layers, in order.
    pub fn buffers(&self) -> Vec<Buffer> {
        self.layers.iter().flat_map(Layer::buffers).collect()
    }
}
