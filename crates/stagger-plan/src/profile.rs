//! What was measured: a file.

use serde::{Deserialize, Serialize};
use stagger_model::BlockCosts;

use crate::distribution::Distribution;

/// The format of profiles that this version writes and reads.
const FORMAT: u32 = 1;

/// How long the blocks of a model take on devices, and what lies between these. `stagger profile` measures one; others are
/// written by hand.
///
/// All times are in seconds, and of one micro-batch of [`samples`](Profile::samples); an update is one of the whole batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Of the file.
    pub format: u32,
    /// The network: `resnet20`.
    pub model: String,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Samples in a micro-batch.
    pub samples: usize,
    /// Number format of the passes: `f32`.
    pub dtype: String,
    /// The blocks, from the input to the loss.
    pub blocks: Vec<BlockSize>,
    /// Each place of the run that was measured, from stage 0 up, and of a stage from its first replica.
    pub devices: Vec<DeviceProfile>,
    /// The hop from each stage to the next, or one for all.
    #[serde(default)]
    pub links: Vec<LinkProfile>,
    /// What whole stages take, as they were cut where they were measured.
    #[serde(default)]
    pub stages: Option<MeasuredStages>,
}

/// How much room a block takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockSize {
    /// Its name in the model.
    pub name: String,
    /// Bytes of its parameters.
    pub parameter_bytes: u64,
    /// Bytes of its output, for one micro-batch.
    pub output_bytes: u64,
    /// Bytes that its graph keeps for the backward pass, for one micro-batch.
    pub graph_bytes: u64,
}

/// What blocks take on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// What people call it: `cpu on rank 1 (node7)`.
    pub name: String,
    /// Forward pass of each block, without a graph.
    pub forward: Vec<Distribution>,
    /// Forward pass that builds the graph.
    pub recompute: Vec<Distribution>,
    /// Backward pass.
    pub backward: Vec<Distribution>,
    /// Update.
    pub update: Vec<Distribution>,
}

/// What lies between two stages, in either direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkProfile {
    /// From the end of sending to the arrival.
    pub latency: Distribution,
    /// How long a message of a million bytes occupies the link; 0 for one that moves nothing.
    pub per_megabyte: Distribution,
}

/// What whole stages take, measured while all of them run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredStages {
    /// Blocks of each stage.
    pub cut: Vec<usize>,
    /// What each takes.
    pub times: Vec<StageTimes>,
}

/// How long the actions of a stage take, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageTimes {
    /// A forward pass without a graph, of one micro-batch.
    pub forward: Distribution,
    /// A forward pass that builds the graph.
    pub recompute: Distribution,
    /// A backward pass.
    pub backward: Distribution,
    /// An update.
    pub update: Distribution,
    /// Training the synthesizer on a gradient.
    #[serde(default = "no_time")]
    pub learn: Distribution,
}

fn no_time() -> Distribution {
    Distribution::ZERO
}

/// Why a text is no [`Profile`].
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is no JSON of that form.
    #[error("it is no profile: {0}")]
    Form(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("its format is {found}, and this version reads format {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// Lists that belong together have other lengths.
    #[error("it has {expected} {of}, but {found} {what}")]
    Lengths {
        /// What there are `expected` of.
        of: &'static str,
        /// How many.
        expected: usize,
        /// What there should be as many of.
        what: String,
        /// How many there are.
        found: usize,
    },
}

impl Profile {
    /// The format that this version writes.
    pub const FORMAT: u32 = FORMAT;

    /// Reads a profile, and checks that its lists fit together.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        // A file of another version may have other fields: its version is read first.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format: found } = serde_json::from_str(text)?;
        if found != FORMAT {
            return Err(ProfileError::Format { found });
        }
        let profile: Self = serde_json::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// As JSON for people to read.
    ///
    /// # Errors
    /// Never for a checked profile: all its numbers are finite.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let blocks = self.blocks.len();
        let lengths = |of, expected, what: String, found| match expected == found {
            true => Ok(()),
            false => Err(ProfileError::Lengths {
                of,
                expected,
                what,
                found,
            }),
        };
        for (number, device) in self.devices.iter().enumerate() {
            for (pass, times) in [
                ("forward", &device.forward),
                ("recompute", &device.recompute),
                ("backward", &device.backward),
                ("update", &device.update),
            ] {
                let what = format!("{pass} times of device {number}");
                lengths("blocks", blocks, what, times.len())?;
            }
        }
        if let Some(stages) = &self.stages {
            let what = "measured stages".to_owned();
            lengths(
                "stages in its cut",
                stages.cut.len(),
                what,
                stages.times.len(),
            )?;
            let cut = stages
                .cut
                .iter()
                .fold(0_usize, |sum, &n| sum.saturating_add(n));
            lengths("blocks", blocks, "blocks in its cut".to_owned(), cut)?;
        }
        Ok(())
    }

    /// What the blocks take on each device, for a cut.
    #[must_use]
    pub fn block_costs(&self) -> Vec<BlockCosts> {
        let means = |times: &[Distribution]| times.iter().map(Distribution::mean).collect();
        (self.devices.iter())
            .map(|device| BlockCosts {
                forward: means(&device.forward),
                backward: means(&device.backward),
            })
            .collect()
    }
}
