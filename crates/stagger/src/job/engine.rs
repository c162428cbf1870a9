//! Which engine runs each stage, on which devices and in which format.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use stagger_cpu::CpuDevice;
use stagger_emulate::Emulation;
use stagger_engine::{EngineError, Precision};
use stagger_runtime::Replicas;

use crate::job::at_least_one;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

#[cfg(feature = "torch")]
mod torch;

/// The default engine.
pub(crate) const CPU: &str = "cpu";

/// The one over libtorch.
pub(crate) const TORCH: &str = "torch";

/// What stands in the place of an engine's name where stages sleep instead of computing.
pub(crate) const EMULATED: &str = "emulated";

/// The default engine of runs that were made before there was engine `cpu`.
pub(crate) const FORMER_CPU: &str = "burn";

/// The engines with their devices, checked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EngineChoice {
    /// Pure Rust on the CPU, so for all stages.
    Cpu(CpuDevice),
    /// None: stages sleep as long as they would compute.
    Emulated(Arc<Emulation>),
    /// libtorch, with a device for each place: for each replica of each stage.
    #[cfg(feature = "torch")]
    Torch(Vec<stagger_torch::TorchDevice>),
    /// Some stages on the one and some on the other: what each place has.
    #[cfg(feature = "torch")]
    Mixed(Vec<PlaceEngine>),
}

/// What runs one replica of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceEngine {
    /// Pure Rust on the CPU.
    Cpu(CpuDevice),
    /// libtorch on this device.
    #[cfg(feature = "torch")]
    Torch(stagger_torch::TorchDevice),
}

impl EngineChoice {
    /// What runs a place.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    #[cfg_attr(
        not(feature = "torch"),
        expect(unused_variables, reason = "engine cpu has one device")
    )]
    pub fn at(&self, place: usize) -> PlaceEngine {
        match self {
            Self::Cpu(device) => PlaceEngine::Cpu(*device),
            // It sleeps on the processor.
            Self::Emulated(_) => PlaceEngine::Cpu(CpuDevice::default()),
            #[cfg(feature = "torch")]
            Self::Torch(devices) => PlaceEngine::Torch(devices[place]),
            #[cfg(feature = "torch")]
            Self::Mixed(places) => places[place],
        }
    }

    /// For a process that has these places and is to run all stages: what it does not have runs as its first place does.
    ///
    /// # Panics
    /// When there are no such places.
    #[must_use]
    #[cfg_attr(
        not(feature = "torch"),
        expect(unused_variables, reason = "engine cpu has one device")
    )]
    pub(crate) fn within(&self, places: Range<usize>) -> Self {
        #[cfg(feature = "torch")]
        let near = |place: usize| {
            if places.contains(&place) {
                place
            } else {
                places.start
            }
        };
        match self {
            Self::Cpu(_) | Self::Emulated(_) => self.clone(),
            #[cfg(feature = "torch")]
            Self::Torch(devices) => Self::Torch(
                (0..devices.len())
                    .map(|place| devices[near(place)])
                    .collect(),
            ),
            #[cfg(feature = "torch")]
            Self::Mixed(engines) => Self::Mixed(
                (0..engines.len())
                    .map(|place| engines[near(place)])
                    .collect(),
            ),
        }
    }

    /// Makes sure that the devices of these places are there.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first one that is not.
    ///
    /// # Panics
    /// As [`EngineChoice::at`].
    pub fn check(&self, values: &TrainingOptions, places: Range<usize>) -> Result<(), Refusal> {
        places.into_iter().try_for_each(|place| {
            (self.at(place).check()).map_err(|source| unreadable(device_option(values), source))
        })
    }
}

impl PlaceEngine {
    /// The engine, as options name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => CPU,
            #[cfg(feature = "torch")]
            Self::Torch(_) => TORCH,
        }
    }

    /// The GPU on which it computes, if it is one.
    #[must_use]
    pub fn cuda(&self) -> Option<usize> {
        match self {
            Self::Cpu(_) => None,
            #[cfg(feature = "torch")]
            Self::Torch(device) => device.cuda,
        }
    }

    /// Threads that compute, at least 1.
    #[must_use]
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Cpu(device) => device.threads.max(1),
            // libtorch's are there once for all stages, and start when they are needed.
            #[cfg(feature = "torch")]
            Self::Torch(_) => 1,
        }
    }

    fn check(&self) -> Result<(), EngineError> {
        match self {
            Self::Cpu(_) => Ok(()),
            #[cfg(feature = "torch")]
            Self::Torch(device) => device.check(),
        }
    }
}

/// The device.
impl fmt::Display for PlaceEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cuda() {
            None => f.write_str(CPU),
            Some(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// An engine by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Cpu,
    Torch,
}

/// Reads the engines, the number format and the devices of all stages and their replicas. Whether the devices are there is a
/// question of its own: see [`EngineChoice::check`].
///
/// Engines that are all the same are stored as one, and what says nothing new about devices is left out, so that one run has
/// one spelling.
///
/// # Errors
/// A [`Refusal`] that says what this build, or an engine, does not have.
pub fn choose(
    values: &mut TrainingOptions,
    replicas: &Replicas,
) -> Result<(EngineChoice, Precision), Refusal> {
    let precision: Precision = values
        .dtype
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|source| unreadable("dtype", source))?;
    if precision == Precision::F64 {
        return Err(Refusal::GradientCheckFormat);
    }
    let engines = engines(values, replicas.stages())?;
    choose_sums(values, &engines)?;
    if engines.contains(&Engine::Torch) {
        return Ok((torch(values, &engines, replicas, precision)?, precision));
    }
    refuse_torch_options(values)?;
    let threads = threads(values)?;
    if let Some(devices) = &values.devices {
        of_places(devices, &engines, replicas)?;
        values.devices = None;
    }
    if precision != Precision::F32 {
        return Err(Refusal::Format {
            engine: CPU,
            found: precision,
        });
    }
    Ok((EngineChoice::Cpu(CpuDevice { threads }), precision))
}

/// Reads the engines of so many stages without replicas, and how they make their sums, and nothing else.
///
/// # Errors
/// As [`choose`].
pub(crate) fn choose_engines(values: &mut TrainingOptions, stages: usize) -> Result<(), Refusal> {
    let engines = engines(values, stages)?;
    choose_sums(values, &engines)
}

/// Fills in how engine `cpu` makes the sums of convolutions; only that engine has the choice.
fn choose_sums(values: &mut TrainingOptions, engines: &[Engine]) -> Result<(), Refusal> {
    if engines.contains(&Engine::Cpu) {
        // Said in every run's config, as older ones without it had direct sums.
        values.winograd.get_or_insert(true);
    } else if values.winograd.is_some() {
        return Err(Refusal::Unused {
            option: "winograd",
            beside: "engine",
            found: "torch".to_owned(),
            expected: CPU,
        });
    }
    Ok(())
}

/// The engine of each stage.
fn engines(values: &mut TrainingOptions, stages: usize) -> Result<Vec<Engine>, Refusal> {
    let Some(names) = &values.engines else {
        let name = values.engine.as_deref().unwrap_or_default();
        if name == FORMER_CPU {
            return Err(Refusal::Renamed {
                found: FORMER_CPU,
                expected: CPU,
            });
        }
        return Ok(vec![engine(name)?; stages]);
    };
    if values.engine.is_some() {
        return Err(Refusal::EngineTwice);
    }
    let found = names.len();
    if found != stages {
        return Err(Refusal::Engines { found, stages });
    }
    let engines = names.iter().map(|name| engine(name));
    let engines = engines.collect::<Result<Vec<_>, _>>()?;
    if engines.windows(2).all(|pair| pair[0] == pair[1]) {
        values.engine = names.first().cloned();
        values.engines = None;
    }
    Ok(engines)
}

/// Whether there is an engine of that name, in this build or in another.
pub(crate) fn is_engine(name: &str) -> bool {
    matches!(name, CPU | TORCH)
}

fn engine(name: &str) -> Result<Engine, Refusal> {
    match name {
        CPU => Ok(Engine::Cpu),
        TORCH if cfg!(feature = "torch") => Ok(Engine::Torch),
        TORCH => Err(Refusal::NoTorch),
        _ => Err(Refusal::Unknown {
            kind: "engine",
            found: name.to_owned(),
            expected: "cpu or torch",
        }),
    }
}

/// The device of each place, by one name per stage or per place.
fn of_places<'a>(
    devices: &'a [String],
    engines: &[Engine],
    replicas: &Replicas,
) -> Result<Vec<&'a str>, Refusal> {
    let (stages, places) = (replicas.stages(), replicas.places());
    let found = devices.len();
    if found != stages && found != places {
        return Err(Refusal::Devices {
            found,
            stages,
            places,
        });
    }
    let of = |number: usize| {
        let stage = replicas.place(number).stage;
        let device = devices[if found == places { number } else { stage }].as_str();
        if engines[stage] == Engine::Cpu && device != CPU {
            return Err(Refusal::StageDevice {
                stage,
                engine: CPU,
                found: device.to_owned(),
            });
        }
        Ok(device)
    };
    (0..places).map(of).collect()
}

/// The option that says the devices.
fn device_option(values: &TrainingOptions) -> &'static str {
    match values.devices {
        Some(_) => "devices",
        None => "device",
    }
}

fn unreadable(option: &'static str, source: impl Into<crate::error::Source>) -> Refusal {
    Refusal::Unreadable {
        option,
        source: source.into(),
    }
}

/// Most threads of a stage: more than any processor has.
pub(crate) const MOST_THREADS: usize = 1024;

/// The threads of each stage.
fn threads(values: &TrainingOptions) -> Result<usize, Refusal> {
    let threads = at_least_one(values.threads_per_stage.or(Some(1)), "threads_per_stage")?;
    if threads > MOST_THREADS {
        return Err(Refusal::AboveMost {
            option: "threads_per_stage",
            found: threads,
            most: MOST_THREADS,
        });
    }
    Ok(threads)
}

/// Refuses options that only engine `torch` reads.
fn refuse_torch_options(values: &TrainingOptions) -> Result<(), Refusal> {
    for (option, given) in [
        ("device", values.device.is_some()),
        ("tf32", values.tf32.is_some()),
        ("deterministic", values.deterministic.is_some()),
    ] {
        if given {
            return Err(Refusal::Unused {
                option,
                beside: "engine",
                found: CPU.to_owned(),
                expected: "torch",
            });
        }
    }
    Ok(())
}

#[cfg(not(feature = "torch"))]
fn torch(
    _: &TrainingOptions,
    _: &[Engine],
    _: &Replicas,
    _: Precision,
) -> Result<EngineChoice, Refusal> {
    Err(Refusal::NoTorch)
}

#[cfg(feature = "torch")]
use torch::torch;

#[cfg(all(test, feature = "torch"))]
mod tests;
