//! Which method, cut and staleness are fastest on given devices, by what was measured.

mod candidate;
mod change;
mod devices;
mod layouts;
mod search;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use stagger_engine::Precision;
use stagger_model::{Cut, Model};
use stagger_plan::{DeviceProfile, Distribution, Profile};
use stagger_schedule::Replicas;

use crate::balance::read_profile;
use crate::durations::{DurationsError, check_batch_size};
use crate::error::Error;
use crate::job::{CPU, TORCH};
use crate::model_file::of_profile;
use crate::refusal::Refusal;
use candidate::Layout;
pub use change::DeviceChange;
use search::Search;

/// Plans that are at most this much slower than the fastest one are as good, and the one with the least staleness is taken.
const AS_GOOD: f64 = 0.99;

/// What a plan is made for.
#[derive(Clone, Debug)]
pub struct Planning {
    /// The profile that says what blocks take.
    pub profile: PathBuf,
    /// Speed of each device in multiples of the profile's: that of its device of the same number, or of its only one. Empty for the
    /// profile's devices as they are.
    pub speeds: Vec<f64>,
    /// Devices beside those, each like one of them in everything, by its number.
    pub added: Vec<usize>,
    /// Memory in bytes of each device but those of `added`, or one number for all; empty for what the profile says, if anything.
    pub memory: Vec<u64>,
    /// From the end of sending to arrival, for all links, instead of what the profile says.
    pub latency: Option<Distribution>,
    /// How long a million bytes occupy each link, in seconds, instead of what the profile says.
    pub per_megabyte: Option<f64>,
    /// Devices that are slowed down, each as [`Straggler`](stagger_runtime::Straggler) reads it.
    pub stragglers: Vec<String>,
    /// Samples per batch; those of the profile's micro-batch where it is not said.
    pub batch_size: Option<usize>,
    /// Seed of random times and of stragglers.
    pub seed: u64,
}

/// One way to train.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The method, in notation.
    pub schedule: String,
    /// Stages; 1 for data parallelism.
    pub stages: usize,
    /// Copies of each stage.
    pub replicas: Replicas,
    /// The devices that it uses, by their numbers: those of stage 0 and its replicas first.
    pub devices: Vec<usize>,
    /// Blocks of each stage.
    pub cut: Cut,
    /// Images per second, simulated.
    pub images_per_second: f64,
    /// In how many micro-batches a batch travels.
    pub micro_batches: usize,
    /// The largest staleness of a stage, in updates.
    pub staleness: usize,
    /// The largest learning rate that docs/theory.md allows SGD, as a share of the `1/L` that it allows without staleness, for `S = L`
    /// ([`rate_share`](stagger_plan::theory::rate_share)). `None` for a method that its theorems leave out.
    pub rate_share: Option<f64>,
    /// What the stage that needs most needs by its shapes, in bytes.
    pub memory_bytes: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The network.
    pub model: Model,
    /// Whether it is from a model file, so that its name alone does not say it.
    pub is_from_file: bool,
    /// Format in which the profile was measured: `f32`, `bf16`.
    pub dtype: String,
    /// Samples per batch.
    pub batch_size: usize,
    /// Devices that there are.
    pub devices: usize,
    /// The engine on each of them: `cpu`, `torch`. Where the profile does not say, it is the first that computes in its format.
    pub engines: Vec<String>,
    /// The threads that a stage had on each of them, where the profile says it.
    pub threads: Vec<Option<usize>>,
    /// Whether engine `cpu` made sums by Winograd's method on each of them, where the profile says it.
    pub winograd: Vec<Option<bool>>,
    /// What fits and was simulated, the fastest first. Of a method with several numbers of micro-batches on the same stages it is the one with
    /// the fewest of those that are as fast as its fastest but for a hundredth.
    pub candidates: Vec<Candidate>,
    /// The one to take, by its place among the candidates: of those that are as fast as the fastest but for a hundredth, the one with
    /// the least staleness, then the fewest devices, the largest micro-batches, and the least memory.
    pub best: usize,
    /// The devices and links of the one to take, in its order: `stagger simulate` and `--emulate` take it with that plan's stages and replicas.
    pub best_profile: Profile,
    /// Images per second of backpropagation on the fastest device alone, with what slows it down, whether it fits there or not.
    pub alone_images_per_second: f64,
    /// How many were simulated.
    pub simulated: usize,
    /// Methods that fit no devices.
    pub too_large: Vec<String>,
    /// How many methods and layouts were skipped, because the times of their stages alone make them slower than others, or because they
    /// are not among the most promising layouts.
    pub left_out: usize,
}

/// The engine on a device of a profile in this format.
fn engine(device: &DeviceProfile, dtype: &str) -> String {
    match &device.engine {
        Some(engine) => engine.clone(),
        // Engine `cpu` computes in f32 alone.
        None if dtype == Precision::F32.to_string() => CPU.to_owned(),
        None => TORCH.to_owned(),
    }
}

impl Planning {
    /// Simulates every method on 1 to all devices: with one of each stage, with as many replicas of each, and with different numbers
    /// of them where these promise as much.
    ///
    /// # Errors
    /// When the profile is wrong, or the devices or stragglers do not fit it; and when nothing fits into memory.
    pub fn run(&self) -> Result<Planned, Error> {
        let profile = read_profile(&self.profile).map_err(DurationsError::from)?;
        let model = of_profile(&profile, &self.profile).map_err(DurationsError::from)?;
        let profile = self.with_devices(profile.calibrated())?;
        let batch_size = self.batch_size.unwrap_or(profile.samples);
        check_batch_size(batch_size)?;
        let search = Search {
            planning: self,
            model: &model,
            profile: &profile,
            batch_size,
        };
        let found = search.everything()?;
        let alone = search.alone()?;
        let mut candidates = found.candidates;
        candidates.sort_by(|a, b| b.images_per_second.total_cmp(&a.images_per_second));
        let Some(fastest) = candidates.first().map(|first| first.images_per_second) else {
            let rooms = profile.devices.iter().map(|device| device.memory_bytes);
            return Err(Refusal::NothingFits {
                model: model.name.clone(),
                batch_size,
                // Without a limit everything fits.
                most: rooms.flatten().max().unwrap_or_default(),
            }
            .into());
        };
        let as_good = candidates.iter().enumerate();
        let as_good = as_good.filter(|(_, one)| one.images_per_second >= AS_GOOD * fastest);
        let best = as_good.min_by_key(|(_, one)| {
            (
                one.staleness,
                one.devices.len(),
                one.micro_batches,
                one.memory_bytes,
            )
        });
        let best = best.map_or(0, |(at, _)| at);
        Ok(Planned {
            best_profile: search.profile_of(Layout {
                devices: &candidates[best].devices,
                replicas: &candidates[best].replicas,
            }),
            best,
            batch_size,
            devices: profile.devices.len(),
            engines: profile
                .devices
                .iter()
                .map(|device| engine(device, &profile.dtype))
                .collect(),
            threads: profile
                .devices
                .iter()
                .map(|device| device.threads)
                .collect(),
            winograd: profile
                .devices
                .iter()
                .map(|device| device.winograd)
                .collect(),
            dtype: profile.dtype,
            is_from_file: profile.network.is_some(),
            candidates,
            alone_images_per_second: alone,
            simulated: found.simulated,
            too_large: found.too_large,
            left_out: found.left_out,
            model,
        })
    }
}
