//! A whole network: input shape, classes, and blocks.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::error::ModelError;
use crate::layer::Layer;
use crate::parameter::{Buffer, Parameter};
use crate::shape::ShapeError;

/// Values of an image, far more than any that is trained on: with a batch of as many samples they can still be counted.
const MOST_INPUT_VALUES: usize = u32::MAX as usize;

/// Makes sure that an image for the model of this name has values, and no more than can be counted with.
pub(crate) fn check_input(model: &str, found: [usize; 3]) -> Result<(), ModelError> {
    let values = found.iter().try_fold(1, |size: usize, &side| {
        size.checked_mul(side)
            .filter(|size| *size <= MOST_INPUT_VALUES)
    });
    let model = model.to_owned();
    match values {
        _ if found.contains(&0) => Err(ModelError::EmptyInput { model, found }),
        None => Err(ModelError::InputTooLarge {
            model,
            most: MOST_INPUT_VALUES,
            found,
        }),
        Some(_) => Ok(()),
    }
}

/// A network as data. Reading one from a file checks it as [`Model::new`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Model {
    /// Its name, such as `resnet20`.
    pub name: String,
    /// Shape of one image: channels, height, width.
    pub input: [usize; 3],
    /// Number of classes: features of the last block's output.
    pub classes: usize,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
}

/// The fields of a [`Model`] as a file has them, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    name: String,
    input: [usize; 3],
    classes: usize,
    blocks: Vec<Block>,
}

impl TryFrom<Unchecked> for Model {
    type Error = ModelError;

    fn try_from(file: Unchecked) -> Result<Self, ModelError> {
        Self::new(file.name, file.input, file.classes, file.blocks)
    }
}

impl Model {
    /// A model of one's own, checked. `input` is the shape of an image: channels, height, width; the last block has to
    /// end in `[classes]`. Names of layers become those of parameters, and a cut between stages lies between blocks.
    ///
    /// ```
    /// use stagger_model::{Block, Layer, Model};
    ///
    /// let body = vec![
    ///     Layer::conv3x3("block.conv1", 8, 8, 1),
    ///     Layer::batch_norm("block.bn1", 8),
    ///     Layer::Relu,
    ///     Layer::conv3x3("block.conv2", 8, 8, 1),
    ///     Layer::batch_norm("block.bn2", 8),
    /// ];
    /// let residual = Layer::Residual { body, shortcut: vec![] };
    /// let blocks = vec![
    ///     Block::new("stem", vec![Layer::conv3x3("conv1", 1, 8, 1), Layer::Relu]),
    ///     Block::new("block", vec![residual, Layer::Relu]),
    ///     Block::new("head", vec![Layer::GlobalAvgPool, Layer::Flatten, Layer::linear("fc", 8, 2)]),
    /// ];
    /// let model = Model::new("tiny", [1, 16, 16], 2, blocks.clone())?;
    /// assert_eq!(model.parameter_count(), 1274);
    ///
    /// let error = Model::new("tiny", [3, 16, 16], 2, blocks).unwrap_err();
    /// assert!(error.to_string().contains("layer `conv1` expects 1 channels"));
    /// # Ok::<(), stagger_model::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Model::validate`].
    pub fn new(
        name: impl Into<String>,
        input: [usize; 3],
        classes: usize,
        blocks: Vec<Block>,
    ) -> Result<Self, ModelError> {
        let model = Self {
            name: name.into(),
            input,
            classes,
            blocks,
        };
        model.validate()?;
        Ok(model)
    }

    /// Checks what every use of a model relies on: it has blocks and each has layers, shapes fit from the input to
    /// `[classes]`, and no two parameters, buffers or dropout layers share a name.
    ///
    /// # Errors
    /// The [`ModelError`] of the first of these that does not hold.
    pub fn validate(&self) -> Result<(), ModelError> {
        let model = || self.name.clone();
        check_input(&self.name, self.input)?;
        if self.classes == 0 {
            return Err(ModelError::NoClasses { model: model() });
        }
        if self.blocks.is_empty() {
            return Err(ModelError::NoBlocks { model: model() });
        }
        if let Some(empty) = self.blocks.iter().find(|block| block.layers.is_empty()) {
            return Err(ModelError::EmptyBlock {
                model: model(),
                block: empty.name.clone(),
            });
        }
        let output = self.stage_input_shape(self.blocks.len())?;
        if output != [self.classes] {
            return Err(ModelError::Output {
                model: model(),
                classes: self.classes,
                found: output,
            });
        }
        let mut seen = BTreeSet::new();
        for name in self.names() {
            if !seen.insert(name.clone()) {
                return Err(ModelError::DuplicateName {
                    model: model(),
                    name,
                });
            }
        }
        Ok(())
    }

    /// The shape of what enters block `block`, for one sample; of the model's output for `block` = number of blocks.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when a block before it does not fit, [`ModelError::BlockIndex`] when there is no such
    /// block.
    pub fn stage_input_shape(&self, block: usize) -> Result<Vec<usize>, ModelError> {
        let before = self
            .blocks
            .get(..block)
            .ok_or_else(|| self.no_block(block))?;
        before.iter().try_fold(self.input.to_vec(), |shape, block| {
            block
                .output_shape(&shape)
                .map_err(|reason| self.shape_error(block, reason))
        })
    }

    /// The parameters of these blocks, in order.
    ///
    /// # Panics
    /// When the range reaches beyond the last block.
    pub fn parameters(&self, blocks: Range<usize>) -> Vec<Parameter> {
        self.blocks[blocks]
            .iter()
            .flat_map(Block::parameters)
            .collect()
    }

    /// The buffers of these blocks, in order.
    ///
    /// # Panics
    /// When the range reaches beyond the last block.
    pub fn buffers(&self, blocks: Range<usize>) -> Vec<Buffer> {
        self.blocks[blocks]
            .iter()
            .flat_map(Block::buffers)
            .collect()
    }

    /// The name of the last linear layer, which programs call the head; `None` where no layer is linear.
    pub fn head(&self) -> Option<&str> {
        let mut head = None;
        for layer in self.blocks.iter().flat_map(|block| &block.layers) {
            layer.walk(&mut |layer| {
                if let Layer::Linear { name, .. } = layer {
                    head = Some(name.as_str());
                }
            });
        }
        head
    }

    /// The number of learnt values in the whole model.
    pub fn parameter_count(&self) -> u64 {
        let all = self.parameters(0..self.blocks.len());
        all.iter().fold(0, |sum: u64, parameter| {
            sum.saturating_add(parameter.elements())
        })
    }

    pub(crate) fn shape_error(&self, block: &Block, reason: ShapeError) -> ModelError {
        ModelError::Shape {
            model: self.name.clone(),
            block: block.name.clone(),
            reason: Box::new(reason),
        }
    }

    pub(crate) fn no_block(&self, found: usize) -> ModelError {
        ModelError::BlockIndex {
            model: self.name.clone(),
            blocks: self.blocks.len(),
            found,
        }
    }

    /// Names that have to differ from one another.
    fn names(&self) -> impl Iterator<Item = String> {
        let all = 0..self.blocks.len();
        let parameters = self
            .parameters(all.clone())
            .into_iter()
            .map(|found| found.name);
        let buffers = self.buffers(all).into_iter().map(|found| found.name);
        let mut dropouts = Vec::new();
        for layer in self.blocks.iter().flat_map(|block| &block.layers) {
            layer.walk(&mut |layer| {
                if let Layer::Dropout { name, .. } = layer {
                    dropouts.push(name.clone());
                }
            });
        }
        parameters.chain(buffers).chain(dropouts)
    }
}
