//! What was measured: a file.

mod calibrated;

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
    /// The text of its model file, where it is none of the zoo's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
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
    /// The engine that computed: `cpu`, `torch`; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Threads that a stage had, on a processor; `None` on a GPU, and where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Whether engine `cpu` made the sums of 3×3 convolutions by Winograd's method; `None` of other engines, and where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winograd: Option<bool>,
    /// Forward pass of each block of [`Profile::blocks`], without a graph, in seconds from the input up. So are the others.
    pub forward: Vec<Distribution>,
    /// Forward pass that builds the graph.
    pub recompute: Vec<Distribution>,
    /// Backward pass.
    pub backward: Vec<Distribution>,
    /// The part of it, 0 to 1, that the gradients of the block's weights are; empty where that was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights_share: Vec<f64>,
    /// Update.
    pub update: Vec<Distribution>,
    /// What the stage on it may take of its memory, in bytes; without it, any amount. It is not measured, but read: a cut by the
    /// profile gives the stage no more blocks than fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
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
    /// The part of it, 0 to 1, that the gradients of weights are; without it, see [`StageTimes::weights_share`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_share: Option<f64>,
    /// An update.
    pub update: Distribution,
    /// Training the synthesizer on a gradient.
    #[serde(default = "no_time")]
    pub learn: Distribution,
}

impl StageTimes {
    /// The part of a backward pass that the gradients of weights are: half of it, where nothing is known.
    #[must_use]
    pub fn weights_share(&self) -> f64 {
        self.weights_share.unwrap_or(0.5)
    }

    /// What a replica takes whose share of each micro-batch this is. An update is one of all parameters, whatever the share.
    #[must_use]
    pub fn for_share(&self, share: f64) -> Self {
        Self {
            forward: self.forward.times(share),
            recompute: self.recompute.times(share),
            backward: self.backward.times(share),
            weights_share: self.weights_share,
            update: self.update.clone(),
            learn: self.learn.times(share),
        }
    }
}

fn check_shares(shares: &[f64]) -> Result<(), ProfileError> {
    match shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
        Some(&found) => Err(ProfileError::Share { found }),
        None => Ok(()),
    }
}

fn no_time() -> Distribution {
    Distribution::ZERO
}

/// Samples that a batch has at most where nothing is computed: those of all replicas are counted together.
pub const MOST_SAMPLES: usize = u32::MAX as usize;

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
    /// Its micro-batches are larger than any.
    #[error("its micro-batches have {found} samples, and at most {MOST_SAMPLES} are planned with")]
    Samples {
        /// Samples.
        found: usize,
    },
    /// Nothing was measured.
    #[error("its micro-batches have 0 samples")]
    NoSamples,
    /// A part of a backward pass is none.
    #[error("a share of weights is {found}; it has to be from 0 to 1")]
    Share {
        /// What it says.
        found: f64,
    },
    /// A measured stage is none.
    #[error("its stages are cut so that stage {stage} has 0 blocks")]
    EmptyStage {
        /// The stage.
        stage: usize,
    },
    /// It is of no device.
    #[error("it has no devices")]
    NoDevices,
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
        #[serde(expecting = "an object with a format")]
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
    /// When a number is not finite, which [`Profile::from_json`] refuses.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.samples == 0 {
            return Err(ProfileError::NoSamples);
        }
        if self.samples > MOST_SAMPLES {
            let found = self.samples;
            return Err(ProfileError::Samples { found });
        }
        if self.devices.is_empty() {
            return Err(ProfileError::NoDevices);
        }
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
            if !device.weights_share.is_empty() {
                let what = format!("shares of weights of device {number}");
                lengths("blocks", blocks, what, device.weights_share.len())?;
            }
            check_shares(&device.weights_share)?;
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
            if let Some(stage) = stages.cut.iter().position(|&blocks| blocks == 0) {
                return Err(ProfileError::EmptyStage { stage });
            }
            let shares = stages.times.iter().filter_map(|times| times.weights_share);
            check_shares(&shares.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// What the blocks take on each device, in seconds for a micro-batch of `samples` samples, for a cut of a run whose batches are
    /// `micro_batches` of them.
    #[must_use]
    pub fn block_costs(&self, samples: usize, micro_batches: usize) -> Vec<BlockCosts> {
        let scale = samples as f64 / self.samples.max(1) as f64;
        let devices = self.devices.iter();
        devices
            .map(|device| device.block_costs(scale, micro_batches))
            .collect()
    }
}

impl DeviceProfile {
    /// Whether any block takes time for anything.
    #[must_use]
    pub fn has_times(&self) -> bool {
        self.times().any(|time| time.mean() > 0.0)
    }

    /// Whether a file can say all times: none is longer than a day.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        self.times().all(Distribution::can_be_written)
    }

    fn times(&self) -> impl Iterator<Item = &Distribution> {
        let passes = [&self.forward, &self.recompute, &self.backward, &self.update];
        passes.into_iter().flatten()
    }

    /// What the blocks take on it, for a cut: passes take `scale` times as long as was measured, and an update is shared out over
    /// so many micro-batches. The middle of what was measured counts.
    #[must_use]
    pub fn block_costs(&self, scale: f64, micro_batches: usize) -> BlockCosts {
        let centers = |times: &[Distribution], factor: f64| {
            let times = times.iter();
            times.map(|time| factor * time.center()).collect()
        };
        BlockCosts {
            forward: centers(&self.forward, scale),
            recompute: centers(&self.recompute, scale),
            backward: centers(&self.backward, scale),
            update: centers(&self.update, 1.0 / micro_batches.max(1) as f64),
        }
    }
}

#[cfg(test)]
mod tests;
