//! What computes a run, beside what a profile was measured with.

use std::path::PathBuf;

use stagger_engine::Precision;
use stagger_plan::{DeviceProfile, Profile};
use stagger_runtime::Replicas;

use super::file::ToCut;
use super::misfit::ProfileMisfit;
use crate::job::{CPU, MOST_THREADS, PlaceEngine};
use crate::options::TrainingOptions;
use crate::refusal::counted;

/// What computes a run.
#[derive(Clone, Debug)]
pub(crate) struct Computes {
    /// What each place has.
    pub places: Vec<ComputesAt>,
    /// In which format, where that is said.
    pub precision: Option<Precision>,
}

/// What computes one replica of a stage.
#[derive(Clone, Debug)]
pub(crate) struct ComputesAt {
    /// The engine.
    pub engine: String,
    /// Its threads, on a processor; `None` where that is not said.
    pub threads: Option<usize>,
    /// Whether engine `cpu` makes the sums of 3×3 convolutions by Winograd's method.
    pub winograd: Option<bool>,
}

impl ComputesAt {
    /// What a place of a run with these options has.
    pub fn of(place: PlaceEngine, options: &TrainingOptions) -> Self {
        let threads = options.threads_per_stage.unwrap_or(1);
        let winograd = options.winograd.unwrap_or(true);
        Self {
            engine: place.name().to_owned(),
            threads: place.cuda().is_none().then_some(threads),
            winograd: (place.name() == CPU).then_some(winograd),
        }
    }

    /// How a device of a profile has computed otherwise.
    fn difference(&self, device: &DeviceProfile) -> Option<String> {
        let found = device
            .engine
            .as_ref()
            .filter(|found| **found != self.engine);
        if let Some(found) = found {
            return Some(format!(
                "the profile is of engine {found}, and the run computes with engine {}",
                self.engine
            ));
        }
        match (device.threads, self.threads) {
            (Some(found), Some(here)) if found != here => {
                return Some(format!(
                    "the profile is of {} per stage, and the run computes with {here}",
                    counted(found, "thread")
                ));
            }
            _ => {}
        }
        match (device.winograd, self.winograd) {
            (Some(true), Some(false)) => Some(
                "the profile is of sums by Winograd's method, and the run computes direct sums"
                    .to_owned(),
            ),
            (Some(false), Some(true)) => Some(
                "the profile is of direct sums, and the run computes by Winograd's method"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Says what a profile was measured with where that is not what computes the run.
pub(super) fn other_computation(profile: &Profile, run: &ToCut<'_>) -> Option<String> {
    let Computes { places, precision } = run.computes?;
    let alone = Replicas::none(run.schedule.stages());
    let replicas = run.replicas.unwrap_or(&alone);
    let place = |device: usize| match profile.devices.len() {
        1 => 0..replicas.places(),
        found if found == replicas.places() => device..device + 1,
        _ => replicas.places_of(device..device + 1),
    };
    let devices = profile.devices.iter().enumerate();
    let other = devices.filter_map(|(device, of)| {
        let mut here = places.get(place(device))?.iter();
        here.find_map(|here| here.difference(of))
    });
    let format = precision.map(|here| here.to_string());
    let format = format.filter(|here| *here != profile.dtype).map(|here| {
        let found = &profile.dtype;
        format!("the profile is of {found}, and the run computes in {here}")
    });
    other.chain(format).next()
}

/// Stages of a run have equally many threads, and those of engine `cpu` make their sums in one way.
///
/// # Errors
/// [`ProfileMisfit::Threads`], [`ProfileMisfit::Winograd`], [`ProfileMisfit::Differing`].
pub(super) fn check_computation(profile: &Profile, path: PathBuf) -> Result<(), ProfileMisfit> {
    let devices = || profile.devices.iter().enumerate();
    let threads = || devices().filter_map(|(device, of)| Some((device, of.threads?)));
    let is_none = |(_, threads): &(usize, usize)| !(1..=MOST_THREADS).contains(threads);
    if let Some((device, found)) = threads().find(is_none) {
        return Err(ProfileMisfit::Threads {
            path,
            device,
            found,
        });
    }
    let is_bf16 = profile.dtype == Precision::Bf16.to_string();
    let no_cpu = |of: &DeviceProfile| match &of.engine {
        Some(engine) => engine != CPU,
        // Engine `cpu` computes in f32 alone.
        None => is_bf16,
    };
    if let Some((device, _)) = devices().find(|(_, of)| of.winograd.is_some() && no_cpu(of)) {
        return Err(ProfileMisfit::Winograd { path, device });
    }
    let mut counts = threads().map(|(_, threads)| threads);
    let first = counts.next();
    let differ = |field| ProfileMisfit::Differing { path, field };
    if counts.any(|threads| Some(threads) != first) {
        return Err(differ("threads"));
    }
    let mut sums = devices().filter_map(|(_, of)| of.winograd);
    let first = sums.next();
    match sums.any(|winograd| Some(winograd) != first) {
        true => Err(differ("winograd")),
        false => Ok(()),
    }
}
