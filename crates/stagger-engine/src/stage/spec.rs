//! What a stage is built from.

use std::ops::Range;

use stagger_model::{Model, SYNTHESIZER_BLOCK};

use crate::error::EngineError;
use crate::optimizer::Optimizer;
use crate::precision::Precision;

/// What to build a stage from.
#[derive(Clone, Debug)]
pub struct StageSpec<'a> {
    /// The whole model.
    pub model: &'a Model,
    /// The blocks of this stage.
    pub blocks: Range<usize>,
    /// Seed of initial weights and dropout.
    pub seed: u64,
    /// Whether the stage's input is data, of which no gradient is needed.
    pub first: bool,
    /// Whether the stage's output are the logits.
    pub last: bool,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// Largest norm of the stage's gradient; a longer one is scaled down to it. `None` leaves gradients alone.
    pub clip_norm: Option<f64>,
    /// Label smoothing of the loss, at least 0 and below 1.
    pub label_smoothing: f64,
    /// Whether the stage keeps its parameters and running statistics: it normalises by those statistics, drops nothing out, and
    /// makes no backward pass. The gradient of its input is 0, so all stages below it have to be frozen, too.
    pub frozen: bool,
    /// What the learning rate of the head, [`Model::head`](stagger_model::Model::head), is multiplied by; finite and above 0.
    pub head_rate_factor: f64,
    /// Whether convolutions may use Winograd's method, where the engine has it: fewer multiplications, other rounding.
    pub winograd: bool,
    /// Format in which the stage computes.
    pub precision: Precision,
    /// Whether the stage adds up the time of its kernels, for [`Stage::profile`](super::Stage::profile).
    pub profiled: bool,
}

impl<'a> StageSpec<'a> {
    /// The stage of these blocks, with plain SGD, no clipping and no label smoothing, in `f32`; `first` and `last` follow from
    /// the blocks.
    pub fn new(model: &'a Model, blocks: Range<usize>, seed: u64) -> Self {
        Self {
            model,
            first: blocks.start == 0,
            last: blocks.end == model.blocks.len(),
            blocks,
            seed,
            optimizer: Optimizer::Sgd {
                weight_decay: Default::default(),
            },
            clip_norm: None,
            label_smoothing: 0.0,
            frozen: false,
            head_rate_factor: 1.0,
            winograd: true,
            precision: Precision::F32,
            profiled: false,
        }
    }

    /// The stage that runs a [`stagger_model::synthesizer`], with plain SGD. It counts as `first`: its input is an
    /// activation of another stage, but its gradient is not needed.
    ///
    /// # Errors
    /// [`EngineError::NoSynthesizer`] for any other model.
    pub fn synthesizer(model: &'a Model, seed: u64) -> Result<Self, EngineError> {
        let mut blocks = model.blocks.iter();
        let Some(at) = blocks.position(|block| block.name == SYNTHESIZER_BLOCK) else {
            let model = model.name.clone();
            return Err(EngineError::NoSynthesizer { model });
        };
        Ok(Self {
            first: true,
            last: false,
            ..Self::new(model, at..at + 1, seed)
        })
    }

    /// Checks everything that does not need a tensor library, and gives the shapes of one sample of the stage's
    /// input and output.
    ///
    /// # Errors
    /// When the blocks are not blocks of the model, shapes do not fit, or a setting lies outside its range.
    pub fn validate(&self) -> Result<(Vec<usize>, Vec<usize>), EngineError> {
        let blocks = self.model.blocks.len();
        let Range { start, end } = self.blocks;
        if start >= end || end > blocks {
            return Err(EngineError::Blocks { start, end, blocks });
        }
        self.optimizer.validate()?;
        let check = |holds: bool, setting, expected, found| match holds {
            true => Ok(()),
            false => Err(EngineError::Setting {
                setting,
                expected,
                found,
            }),
        };
        if let Some(norm) = self.clip_norm {
            let holds = norm.is_finite() && norm > 0.0;
            check(holds, "gradient clipping", "a finite number above 0", norm)?;
        }
        let smoothing = self.label_smoothing;
        let holds = (0.0..1.0).contains(&smoothing);
        check(
            holds,
            "label smoothing",
            "at least 0 and below 1",
            smoothing,
        )?;
        let factor = self.head_rate_factor;
        let holds = factor.is_finite() && factor > 0.0;
        check(
            holds,
            "factor of the head's rate",
            "a finite number above 0",
            factor,
        )?;
        Ok((
            self.model.stage_input_shape(start)?,
            self.model.stage_input_shape(end)?,
        ))
    }

    /// What messages call the stage: its first and last block.
    pub(crate) fn label(&self) -> String {
        let names: Vec<&str> = self.model.blocks[self.blocks.clone()]
            .iter()
            .map(|block| block.name.as_str())
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [only] => (*only).to_owned(),
            [first, .., last] => format!("{first} to {last}"),
        }
    }
}
