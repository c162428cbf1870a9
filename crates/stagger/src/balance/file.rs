//! The cut of a run by a profile that was measured before.

use std::fmt::Write as _;
use std::path::Path;

use stagger_data::{foreign, shown_path};
use stagger_engine::Precision;
use stagger_model::{Balance, BlockCosts, Cut, MemoryLimit, Model, StageWork};
use stagger_plan::{PipelineError, Profile};
use stagger_report::is_same_place;
use stagger_runtime::Replicas;
use stagger_schedule::Schedule;

use super::computes::{Computes, check_computation, other_computation};
use super::milliseconds;
use super::misfit::ProfileMisfit;
use crate::durations::check_batch_size;
use crate::error::Error;
use crate::job::{CPU, check_shares, is_engine, summary_inputs};
use crate::refusal::{Refusal, check_path};

/// Far more than a profile of any model in the zoo with a thousand rounds has.
const MOST_BYTES: u64 = 1 << 26;

/// What decides a cut by a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToCut<'a> {
    pub model: &'a Model,
    pub schedule: &'a Schedule,
    /// `None` where there is one of each stage.
    pub replicas: Option<&'a Replicas>,
    /// Samples of an update.
    pub batch_size: usize,
    /// Values per parameter that the optimizer keeps.
    pub optimizer_slots: usize,
    /// What computes the run; `None` where nothing does.
    pub computes: Option<&'a Computes>,
}

/// A cut that is made before anything is measured, and what is to be said of it.
#[derive(Clone, Debug)]
pub(crate) struct FirstCut {
    pub cut: Cut,
    /// A line for people on a cut by a file.
    pub line: Option<String>,
    /// Where that file is of something else than what computes the run: a line that says so alone.
    pub misfit: Option<String>,
}

/// The cut of a model by a profile of it, for the stages of a schedule with momentum: stages go by their devices' times, and get no
/// more blocks than fit the memory that the profile allows.
///
/// # Errors
/// When the batch size is none or leaves a share of it without a sample; when the file is no profile, or one of another model, input, or
/// number of classes or devices; and when no cut fits.
pub fn cut_by_profile(
    path: &Path,
    model: &Model,
    schedule: &Schedule,
    batch_size: usize,
) -> Result<Cut, Error> {
    check_batch_size(batch_size)?;
    check_shares(model, schedule, batch_size)?;
    let run = ToCut {
        model,
        schedule,
        replicas: None,
        batch_size,
        optimizer_slots: 1,
        computes: None,
    };
    Ok(by_file(path, &run)?.cut)
}

/// The cut of a run by the profile in a file.
pub(super) fn by_file(path: &Path, run: &ToCut<'_>) -> Result<FirstCut, Error> {
    check_path("balance", path)?;
    let profile = read_profile(path).map_err(refused)?;
    let idle = profile
        .devices
        .iter()
        .position(|device| !device.has_times());
    if let Some(device) = idle {
        let path = path.to_owned();
        return Err(refused(ProfileMisfit::NoTime { path, device }).into());
    }
    let (cut, times) = cut_of_profile(&profile, path, run)?;
    let mut line = format!(
        "balance {}: blocks {cut}, expected to take {} ms per micro-batch",
        shown_path(path),
        milliseconds(&times)
    );
    let other = other_computation(&profile, run)
        .map(|other| format!("{other}: better measure a profile of that"));
    if let Some(other) = &other {
        let _ = write!(line, "; {other}");
    }
    Ok(FirstCut {
        cut,
        line: Some(line),
        misfit: other.map(|other| format!("balance {}: {other}", shown_path(path))),
    })
}

/// Says that what a profile allows its devices is not looked at, where the cut is by something else than that profile.
pub(crate) fn unread_memory(profile: &Profile, path: &Path, balance: &Balance) -> Option<String> {
    let says_some = profile
        .devices
        .iter()
        .any(|device| device.memory_bytes.is_some());
    let is_by_it = match balance {
        Balance::Profile => true,
        Balance::File(other) => is_same_place(other, path),
        _ => false,
    };
    (says_some && !is_by_it).then(|| {
        format!(
            "{}: its memory_bytes are not looked at, as the cut is not by this profile; a cut with balance {} is one that fits",
            shown_path(path),
            shown_path(path)
        )
    })
}

fn refused(misfit: ProfileMisfit) -> Refusal {
    Refusal::Unreadable {
        option: "balance",
        source: Box::new(misfit),
    }
}

/// Reads a profile.
///
/// # Errors
/// [`ProfileMisfit::Unread`], [`ProfileMisfit::Damaged`], [`ProfileMisfit::Unknown`].
pub(crate) fn read_profile(path: &Path) -> Result<Profile, ProfileMisfit> {
    let path = path.to_owned();
    let text = match foreign::text(&path, MOST_BYTES) {
        Ok(text) => text,
        Err(source) => return Err(ProfileMisfit::Unread { path, source }),
    };
    let profile = match Profile::from_json(&text) {
        Ok(profile) => profile,
        Err(source) => return Err(ProfileMisfit::Damaged { path, source }),
    };
    let mut engines = profile.devices.iter().flat_map(|device| &device.engine);
    let unknown = |what, found: &str, expected| ProfileMisfit::Unknown {
        path: path.clone(),
        what,
        found: found.to_owned(),
        expected,
    };
    if let Some(found) = engines.find(|name| !is_engine(name)) {
        return Err(unknown("engine", found, "cpu or torch"));
    }
    let mut engines = profile.devices.iter().flat_map(|device| &device.engine);
    match profile.dtype.parse() {
        // Engine `cpu` computes in f32 alone.
        Ok(Precision::Bf16) if engines.any(|name| name == CPU) => Err(unknown(
            "dtype",
            &profile.dtype,
            "f32, as a device of engine cpu computes in that alone",
        )),
        Ok(Precision::F32 | Precision::Bf16) => {
            check_computation(&profile, path)?;
            Ok(profile)
        }
        _ => Err(unknown("dtype", &profile.dtype, "f32 or bf16")),
    }
}

/// Makes sure that the profile is one of the run's model, and of one device, one for each stage, or one for each place.
///
/// # Errors
/// [`ProfileMisfit::Other`], [`ProfileMisfit::Devices`].
pub(crate) fn check_profile(
    profile: &Profile,
    path: &Path,
    run: &ToCut<'_>,
) -> Result<(), ProfileMisfit> {
    let ToCut {
        model, schedule, ..
    } = run;
    let path = path.to_owned();
    let blocks = model.blocks.iter().map(|block| block.name.as_str());
    let found = profile.blocks.iter().map(|block| block.name.as_str());
    let other_block = blocks
        .clone()
        .zip(found.clone())
        .position(|(of_model, found)| of_model != found);
    let described = |name: &str,
                     [channels, height, width]: [usize; 3],
                     classes,
                     blocks: &[&str]| {
        let count = blocks.len();
        let other = other_block.and_then(|at| Some((at, blocks.get(at)?)));
        let other = other.map_or(String::new(), |(at, block)| {
            format!(", block {at} `{block}`,")
        });
        format!(
            "{name} with {count} blocks{other} for {channels}x{height}x{width} images and {classes} classes"
        )
    };
    let is_same = (profile.model == model.name)
        && (profile.input, profile.classes) == (model.input, model.classes)
        && found.clone().eq(blocks.clone());
    if !is_same {
        return Err(ProfileMisfit::Other {
            path,
            found: described(
                &profile.model,
                profile.input,
                profile.classes,
                &found.collect::<Vec<_>>(),
            ),
            expected: described(
                &model.name,
                model.input,
                model.classes,
                &blocks.collect::<Vec<_>>(),
            ),
        });
    }
    let (found, stages) = (profile.devices.len(), schedule.stages());
    let alone = Replicas::none(stages);
    let replicas = run.replicas.unwrap_or(&alone);
    if found != 1 && found != stages && found != replicas.places() {
        let source = PipelineError::devices(found, replicas);
        return Err(ProfileMisfit::Devices { path, source });
    }
    Ok(())
}

/// The cut, and what its stages take for a micro-batch, in seconds.
///
/// # Errors
/// When the profile is of something else, and when no cut fits.
pub(crate) fn cut_of_profile(
    profile: &Profile,
    path: &Path,
    run: &ToCut<'_>,
) -> Result<(Cut, Vec<f64>), Error> {
    check_profile(profile, path, run).map_err(refused)?;
    let ToCut {
        model,
        schedule,
        replicas,
        batch_size,
        optimizer_slots,
        ..
    } = *run;
    let micro_batches = schedule.micro_batches();
    let samples = (batch_size / micro_batches.max(1)).max(1);
    let costs: Vec<BlockCosts> = profile.block_costs(samples, micro_batches);
    let inputs = summary_inputs(schedule);
    let recomputes = schedule.recomputes();
    let stages = recomputes.iter().zip(inputs).enumerate();
    let work: Vec<StageWork<'_>> = stages
        .map(|(stage, (&recompute, input))| {
            // Checked: there is one device, one for each stage, or one for each place, of which the slowest counts.
            let own = match (profile.devices.len(), replicas) {
                (1, _) => 0..1,
                (found, Some(replicas)) if found != schedule.stages() => {
                    replicas.places_of(stage..stage + 1)
                }
                _ => stage..stage + 1,
            };
            let whole = |device: &usize| costs[*device].stage(0..model.blocks.len(), false);
            let slowest = own.clone().rev();
            let slowest = slowest.max_by(|a, b| whole(a).total_cmp(&whole(b)));
            let memory = profile.devices[own].iter();
            let memory = memory.filter_map(|device| device.memory_bytes).min();
            let replicas = replicas.map_or(1, |replicas| replicas.of(stage));
            let limit = |bytes| MemoryLimit {
                bytes,
                stage: input,
                batch_size: batch_size.div_ceil(replicas.max(1)),
                optimizer_slots,
            };
            StageWork {
                recompute,
                replicas,
                measured: slowest.and_then(|device| costs.get(device)),
                memory: memory.map(limit),
            }
        })
        .collect();
    let cut = Balance::File(path.to_owned()).cut_for(model, &work)?;
    let stages = cut.stages().iter().zip(&work);
    let times = stages.map(|(blocks, work)| {
        let seconds = work
            .measured
            .map(|costs| costs.stage(blocks.clone(), work.recompute));
        seconds.unwrap_or_default() / work.replicas.max(1) as f64
    });
    let times = times.collect();
    Ok((cut, times))
}
