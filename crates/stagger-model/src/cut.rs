//! Cutting a model into stages at block boundaries.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use crate::block_costs::{BlockCosts, CostModel};
use crate::cost::Cost;
use crate::cut_error::CutError;
use crate::memory_limit::MemoryLimit;
use crate::model::Model;
use crate::partition::best_sizes;

/// How blocks are dealt out to stages: `auto`, `profile`, `uniform`, the path of a profile, or the number of blocks of each stage, as
/// in `7,4`. A text is a path if it has a `/` in it or ends in `.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The largest stage cost is as small as it can be.
    #[default]
    Auto,
    /// The same by measured costs of each stage's device.
    Profile,
    /// The same by costs that were measured before, and are in this file.
    File(PathBuf),
    /// Stages differ by at most one block; the first ones have more.
    Uniform,
    /// The number of blocks of each stage.
    Explicit(Vec<usize>),
}

/// What decides how long a stage takes, besides its blocks.
#[derive(Clone, Copy, Debug)]
pub struct StageWork<'a> {
    /// Whether it runs its forward twice.
    pub recompute: bool,
    /// How many devices share its batches.
    pub replicas: usize,
    /// What the blocks take on its device. Used where it is known of all stages.
    pub measured: Option<&'a BlockCosts>,
    /// Blocks that do not fit into the memory of its device are not dealt out to it by [`Balance::Auto`], [`Balance::Profile`] and
    /// [`Balance::File`].
    pub memory: Option<MemoryLimit>,
}

impl FromStr for Balance {
    type Err = CutError;

    fn from_str(text: &str) -> Result<Self, CutError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => return Ok(Self::Auto),
            "profile" => return Ok(Self::Profile),
            "uniform" => return Ok(Self::Uniform),
            word if word.contains('/') || word.ends_with(".json") => {
                return Ok(Self::File(text.trim().into()));
            }
            _ => {}
        }
        let mut sizes = Vec::new();
        let mut position = 1;
        for part in text.split(',') {
            match part.trim().parse() {
                Ok(size) if size > 0 => sizes.push(size),
                _ => {
                    let indent = part.chars().take_while(|c| c.is_whitespace()).count();
                    return Err(CutError::Notation {
                        text: text.to_owned(),
                        found: part.trim().to_owned(),
                        position: position + indent,
                    });
                }
            }
            position += part.chars().count() + 1;
        }
        Ok(Self::Explicit(sizes))
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Profile => f.write_str("profile"),
            Self::File(path) => write!(f, "{}", path.to_string_lossy()),
            Self::Uniform => f.write_str("uniform"),
            Self::Explicit(sizes) => f.write_str(&list(sizes)),
        }
    }
}

fn list(sizes: &[usize]) -> String {
    sizes
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

impl Balance {
    /// Cuts the model into as many stages as `recompute` has entries; entry k says whether stage k runs its forward
    /// twice. `costs` are measured ones; without them [`Balance::Auto`] estimates with [`CostModel::default`].
    ///
    /// # Errors
    /// [`CutError`] when there are no stages or more than blocks, when an explicit balance does not fit model or
    /// stages, or when measured costs do not fit the model.
    pub fn cut(
        &self,
        model: &Model,
        recompute: &[bool],
        costs: Option<&BlockCosts>,
    ) -> Result<Cut, CutError> {
        let work = |&recompute| StageWork {
            recompute,
            replicas: 1,
            measured: costs,
            memory: None,
        };
        self.cut_for(model, &recompute.iter().map(work).collect::<Vec<_>>())
    }

    /// Cuts the model into these stages, whose devices may differ.
    ///
    /// # Errors
    /// As [`Balance::cut`]; for [`Balance::Profile`] and [`Balance::File`] when there are no measured costs of a stage; and
    /// [`CutError::Memory`] when no cut fits the memory of the devices.
    pub fn cut_for(&self, model: &Model, work: &[StageWork<'_>]) -> Result<Cut, CutError> {
        let blocks = model.blocks.len();
        let stages = work.len();
        if stages == 0 {
            return Err(CutError::NoStages {
                model: model.name.clone(),
            });
        }
        if stages > blocks {
            return Err(CutError::TooManyStages {
                model: model.name.clone(),
                blocks,
                stages,
            });
        }
        let sizes = match self {
            Self::Uniform => (0..stages)
                .map(|k| blocks / stages + usize::from(k < blocks % stages))
                .collect(),
            Self::Explicit(sizes) => {
                if sizes.len() != stages {
                    let balance = self.to_string();
                    let found = sizes.len();
                    return Err(CutError::StageCount {
                        balance,
                        expected: stages,
                        found,
                    });
                }
                sizes.clone()
            }
            Self::Auto | Self::Profile | Self::File(_) => self.best_sizes(model, work)?,
        };
        Cut::new(model, &sizes)
    }

    /// The sizes of the best cut by the costs of the stages' devices, among those that fit their memory.
    fn best_sizes(&self, model: &Model, work: &[StageWork<'_>]) -> Result<Vec<usize>, CutError> {
        let (blocks, stages) = (model.blocks.len(), work.len());
        let measured: Option<Vec<&BlockCosts>> = work.iter().map(|stage| stage.measured).collect();
        if *self != Self::Auto && measured.is_none() {
            return Err(CutError::NotMeasured {
                balance: self.to_string(),
            });
        }
        let estimated = BlockCosts::estimate(model, &CostModel::default())?;
        let costs = measured.unwrap_or_else(|| vec![&estimated; stages]);
        costs.iter().try_for_each(|costs| costs.validate(blocks))?;
        let sizes_of_blocks = model.block_costs()?;
        let inputs = (0..blocks).map(|block| model.stage_input_shape(block));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let (costs, sizes_of_blocks, inputs) = (&costs, &sizes_of_blocks, &inputs);
        let found = best_sizes(blocks, stages, |stage, start| {
            let StageWork {
                recompute,
                replicas,
                memory,
                ..
            } = work[stage];
            let times = costs[stage].stages_from(start, recompute);
            let sizes = sizes_of_blocks[start..].iter();
            let sizes = sizes.scan(Cost::default(), |sum, size| {
                *sum = *sum + *size;
                Some(*sum)
            });
            times.zip(sizes).map(move |(time, size)| {
                let needs = |limit: MemoryLimit| limit.needs(&size, &inputs[start]);
                let fits = memory.is_none_or(|limit| needs(limit) <= limit.bytes);
                fits.then_some(time / replicas.max(1) as f64)
            })
        });
        found.ok_or_else(|| {
            let limits = work
                .iter()
                .map(|stage| stage.memory.map(|limit| limit.bytes));
            CutError::Memory {
                model: model.name.clone(),
                limits: limits.collect(),
            }
        })
    }
}

/// A model cut into stages: for each stage its blocks. Together they cover all blocks, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    stages: Vec<Range<usize>>,
}

impl Cut {
    /// A cut into stages of these numbers of blocks.
    ///
    /// # Errors
    /// [`CutError::NoStages`], [`CutError::EmptyStage`] or [`CutError::BlockCount`] when they do not cover the model.
    pub fn new(model: &Model, sizes: &[usize]) -> Result<Self, CutError> {
        if sizes.is_empty() {
            return Err(CutError::NoStages {
                model: model.name.clone(),
            });
        }
        if let Some(stage) = sizes.iter().position(|&size| size == 0) {
            return Err(CutError::EmptyStage {
                balance: list(sizes),
                stage,
            });
        }
        let found = sizes
            .iter()
            .fold(0, |sum: usize, &size| sum.saturating_add(size));
        let expected = model.blocks.len();
        if found != expected {
            let (balance, model) = (list(sizes), model.name.clone());
            return Err(CutError::BlockCount {
                balance,
                model,
                expected,
                found,
            });
        }
        let mut start = 0;
        let ranges = sizes.iter().map(|size| {
            start += size;
            start - size..start
        });
        Ok(Self {
            stages: ranges.collect(),
        })
    }

    /// The blocks of each stage.
    pub fn stages(&self) -> &[Range<usize>] {
        &self.stages
    }

    /// The number of blocks of each stage.
    pub fn sizes(&self) -> Vec<usize> {
        self.stages.iter().map(ExactSizeIterator::len).collect()
    }
}

/// Writes the number of blocks of each stage, as [`Balance`] reads it: `7,4`.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.sizes()))
    }
}
