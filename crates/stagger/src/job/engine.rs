//! Which engine runs the stages, on which devices and in which format.

use stagger_engine::Precision;

use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// The default engine.
pub(crate) const CPU: &str = "cpu";

/// The default engine of runs that were made before there was engine `cpu`.
pub(crate) const FORMER_CPU: &str = "burn";

/// An engine with its devices, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineChoice {
    /// Pure Rust on the CPU.
    Cpu,
    /// libtorch, with a device for each stage.
    #[cfg(feature = "torch")]
    Torch(Vec<stagger_torch::TorchDevice>),
}

/// Reads the engine, its number format and its devices for this many stages.
///
/// # Errors
/// A [`Refusal`] that says what this build, or the engine, does not have.
pub fn choose(
    values: &TrainingOptions,
    stages: usize,
) -> Result<(EngineChoice, Precision), Refusal> {
    let name = values.engine.as_deref().unwrap_or_default();
    let precision: Precision = values
        .dtype
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|source| unreadable("dtype", source))?;
    if precision == Precision::F64 {
        return Err(Refusal::GradientCheckFormat);
    }
    match name {
        CPU => {
            refuse_torch_options(values)?;
            if precision != Precision::F32 {
                return Err(Refusal::Format {
                    engine: CPU,
                    found: precision,
                });
            }
            Ok((EngineChoice::Cpu, precision))
        }
        "torch" => Ok((torch(values, stages)?, precision)),
        FORMER_CPU => Err(Refusal::Renamed {
            found: FORMER_CPU,
            expected: CPU,
        }),
        _ => Err(Refusal::Unknown {
            kind: "engine",
            found: name.to_owned(),
            expected: "cpu or torch",
        }),
    }
}

fn unreadable(option: &'static str, source: impl Into<crate::error::Source>) -> Refusal {
    Refusal::Unreadable {
        option,
        source: source.into(),
    }
}

/// Refuses options that only engine `torch` reads.
fn refuse_torch_options(values: &TrainingOptions) -> Result<(), Refusal> {
    for (option, given) in [
        ("device", values.device.is_some()),
        ("devices", values.devices.is_some()),
        ("threads_per_stage", values.threads_per_stage.is_some()),
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
fn torch(_: &TrainingOptions, _: usize) -> Result<EngineChoice, Refusal> {
    Err(Refusal::NoTorch)
}

#[cfg(feature = "torch")]
fn torch(values: &TrainingOptions, stages: usize) -> Result<EngineChoice, Refusal> {
    use stagger_torch::TorchDevice;

    let names = match (&values.devices, &values.device) {
        (Some(_), Some(_)) => return Err(Refusal::DeviceTwice),
        (Some(devices), None) if devices.len() != stages => {
            return Err(Refusal::Devices {
                found: devices.len(),
                stages,
            });
        }
        (Some(devices), None) => devices.clone(),
        (None, device) => vec![device.clone().unwrap_or_else(|| "cpu".to_owned()); stages],
    };
    let threads = super::at_least_one(values.threads_per_stage.or(Some(1)), "threads_per_stage")?;
    let option = if values.devices.is_some() {
        "devices"
    } else {
        "device"
    };
    let device = |name: &String| -> Result<TorchDevice, Refusal> {
        let device: TorchDevice = name.parse().map_err(|source| unreadable(option, source))?;
        let device = TorchDevice {
            threads,
            deterministic: values.deterministic.unwrap_or(true),
            tf32: values.tf32.unwrap_or(false),
            ..device
        };
        device
            .check()
            .map_err(|source| unreadable(option, source))?;
        Ok(device)
    };
    let devices = names.iter().map(device).collect::<Result<Vec<_>, _>>()?;
    let on_gpu = devices.iter().any(|device| device.cuda.is_some());
    if !on_gpu && (values.tf32.is_some() || values.deterministic.is_some()) {
        return Err(Refusal::NoCuda);
    }
    Ok(EngineChoice::Torch(devices))
}
