//! What a layer, block or model costs for one sample: arithmetic, parameters, activations.

use std::iter::Sum;
use std::ops::{Add, Range};

use crate::block::Block;
use crate::error::ModelError;
use crate::layer::Layer;
use crate::model::Model;
use crate::shape::{ShapeError, elements};

/// Bytes of one f32, in which activations and parameters are counted.
const VALUE_BYTES: u64 = 4;

/// Costs of one forward pass of one sample. Sums saturate instead of overflowing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications with the addition that follows, in convolutions and linear layers; biases are not counted.
    pub multiply_adds: u64,
    /// Values that the other layers read or write, whichever is more: normalisation, ReLU, the addition of a
    /// residual, concatenation, pooling, dropout, subsampling. A flatten costs nothing.
    pub elementwise: u64,
    /// Learnt values.
    pub parameters: u64,
    /// Values of all outputs, the addition of a residual included. A flatten is a view and adds none.
    pub activations: u64,
}

impl Cost {
    /// Floating point operations of convolutions and linear layers: two per multiply-add. Much of the literature
    /// calls the multiply-adds themselves FLOPs.
    pub fn flops(&self) -> u64 {
        self.multiply_adds.saturating_mul(2)
    }

    /// Bytes of the parameters as f32.
    pub fn parameter_bytes(&self) -> u64 {
        self.parameters.saturating_mul(VALUE_BYTES)
    }

    /// Bytes of the activations of one sample as f32.
    pub fn activation_bytes(&self) -> u64 {
        self.activations.saturating_mul(VALUE_BYTES)
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            multiply_adds: self.multiply_adds.saturating_add(other.multiply_adds),
            elementwise: self.elementwise.saturating_add(other.elementwise),
            parameters: self.parameters.saturating_add(other.parameters),
            activations: self.activations.saturating_add(other.activations),
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

impl Layer {
    /// The cost for one sample of this shape, with all that is inside a residual or a concatenation.
    ///
    /// # Errors
    /// [`ShapeError`] when the input does not fit the layer.
    pub fn cost(&self, input: &[usize]) -> Result<Cost, ShapeError> {
        let mut cost = self.own_cost(input)?;
        for branch in self.branches().into_iter().flatten() {
            cost = cost_of(branch, input)? + cost;
        }
        Ok(cost)
    }

    /// The cost without what is inside a residual, whose own part is the addition, or inside a concatenation.
    pub(crate) fn own_cost(&self, input: &[usize]) -> Result<Cost, ShapeError> {
        let output = self.output_shape(input)?;
        let outputs = elements(&output);
        let elementwise = |inputs: u64, parameters: u64| Cost {
            elementwise: outputs.max(inputs),
            parameters,
            activations: outputs,
            ..Cost::default()
        };
        let cost = match self {
            Self::Conv2d {
                in_channels,
                out_channels,
                kernel,
                groups,
                bias,
                ..
            } => {
                let per_output = elements(&[in_channels / groups, *kernel, *kernel]);
                let weights = per_output.saturating_mul(*out_channels as u64);
                Cost {
                    multiply_adds: outputs.saturating_mul(per_output),
                    parameters: weights.saturating_add(bias_values(*bias, *out_channels)),
                    activations: outputs,
                    ..Cost::default()
                }
            }
            Self::Linear {
                inputs,
                outputs: features,
                bias,
                ..
            } => {
                let weights = elements(&[*inputs, *features]);
                Cost {
                    multiply_adds: weights,
                    parameters: weights.saturating_add(bias_values(*bias, *features)),
                    activations: outputs,
                    ..Cost::default()
                }
            }
            Self::Flatten => Cost::default(),
            Self::BatchNorm2d { channels, .. } => {
                elementwise(elements(input), elements(&[2, *channels]))
            }
            // The addition, or the concatenation, works on the ends of the branches, not on the input.
            Self::Residual { .. } | Self::Concat { .. } => elementwise(0, 0),
            Self::Relu
            | Self::Relu6
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool
            | Self::Dropout { .. }
            | Self::SubsamplePad { .. } => elementwise(elements(input), 0),
        };
        Ok(cost)
    }
}

fn bias_values(bias: bool, outputs: usize) -> u64 {
    if bias { outputs as u64 } else { 0 }
}

/// The cost of a sequence of layers for one sample.
fn cost_of(layers: &[Layer], input: &[usize]) -> Result<Cost, ShapeError> {
    let mut shape = input.to_vec();
    let mut total = Cost::default();
    for layer in layers {
        total = total + layer.cost(&shape)?;
        shape = layer.output_shape(&shape)?;
    }
    Ok(total)
}

impl Block {
    /// The cost of all layers for one sample of this shape.
    ///
    /// # Errors
    /// The [`ShapeError`] of the first layer that does not fit.
    pub fn cost(&self, input: &[usize]) -> Result<Cost, ShapeError> {
        cost_of(&self.layers, input)
    }
}

impl Model {
    /// The cost of each block for one sample.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when a layer does not fit, which a checked model rules out.
    pub fn block_costs(&self) -> Result<Vec<Cost>, ModelError> {
        let mut shape = self.input.to_vec();
        let mut costs = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let in_block = |reason| self.shape_error(block, reason);
            costs.push(block.cost(&shape).map_err(in_block)?);
            shape = block.output_shape(&shape).map_err(in_block)?;
        }
        Ok(costs)
    }

    /// The cost of these blocks together for one sample.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when a layer does not fit, [`ModelError::BlockIndex`] when the range reaches beyond
    /// the last block.
    pub fn cost(&self, blocks: Range<usize>) -> Result<Cost, ModelError> {
        let costs = self.block_costs()?;
        let found = costs
            .get(blocks.clone())
            .ok_or_else(|| self.no_block(blocks.end))?;
        Ok(found.iter().copied().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_counts_kernel_times_channels_per_output() {
        let cost = Layer::conv3x3("c", 16, 32, 2).cost(&[16, 32, 32]).unwrap();
        assert_eq!(cost.multiply_adds, 32 * 16 * 16 * 16 * 9);
        assert_eq!(cost.flops(), 2 * cost.multiply_adds);
        assert_eq!(cost.parameters, 32 * 16 * 9);
        assert_eq!(cost.activation_bytes(), 4 * 32 * 16 * 16);
        assert_eq!(cost.elementwise, 0);
    }

    #[test]
    fn groups_sum_up_their_own_inputs_alone() {
        let cost = Layer::grouped3x3("c", 16, 32, 4, 2)
            .cost(&[16, 32, 32])
            .unwrap();
        assert_eq!(cost.multiply_adds, 32 * 16 * 16 * (16 / 4) * 9);
        assert_eq!(cost.parameters, 32 * (16 / 4) * 9);
        assert_eq!(cost.activations, 32 * 16 * 16);
    }

    #[test]
    fn a_residual_adds_one_output_to_its_branches() {
        let body = vec![Layer::Relu];
        let residual = Layer::Residual {
            body,
            shortcut: Vec::new(),
        };
        let cost = residual.cost(&[2, 3, 3]).unwrap();
        assert_eq!((cost.elementwise, cost.activations), (36, 36));
    }

    #[test]
    fn a_concatenation_writes_its_input_and_its_body() {
        let body = vec![Layer::conv1x1("c", 2, 3, 1)];
        let cost = Layer::Concat { body }.cost(&[2, 4, 4]).unwrap();
        let (inner, joined) = (3 * 16, 5 * 16);
        assert_eq!(
            (cost.elementwise, cost.activations),
            (joined, inner + joined)
        );
        assert_eq!((cost.parameters, cost.multiply_adds), (6, 2 * inner));
    }

    #[test]
    fn pooling_costs_what_it_reads() {
        let cost = Layer::GlobalAvgPool.cost(&[64, 8, 8]).unwrap();
        assert_eq!((cost.elementwise, cost.activations), (64 * 64, 64));
    }

    #[test]
    fn parameters_agree_with_the_list_of_parameters() {
        for name in crate::MODEL_NAMES {
            let model = Model::by_name(name, [3, 32, 32], 10).unwrap();
            let all = model.cost(0..model.blocks.len()).unwrap();
            assert_eq!(all.parameters, model.parameter_count(), "{name}");
        }
    }

    #[test]
    fn absurd_sizes_saturate() {
        let layer = Layer::linear("fc", usize::MAX, usize::MAX);
        let cost = layer.cost(&[usize::MAX]).unwrap();
        assert_eq!(cost.flops(), u64::MAX);
        assert_eq!(cost.parameter_bytes(), u64::MAX);
    }
}
