//! Which engine runs the stages, on which devices and in which format.

use anyhow::{Context, Result, bail};
use stagger_engine::Precision;

use super::low::TrainValues;

/// An engine with its devices, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineChoice {
    /// Pure Rust on the CPU.
    Burn,
    /// libtorch, with a device for each stage.
    #[cfg(feature = "torch")]
    Torch(Vec<stagger_engine::torch::TorchDevice>),
}

/// Reads the engine, its number format and its devices for this many stages.
///
/// # Errors
/// One sentence on what this build, or the engine, does not have.
pub fn choose(values: &TrainValues, stages: usize) -> Result<(EngineChoice, Precision)> {
    let name = values.engine.as_deref().unwrap_or_default();
    let precision: Precision = values
        .dtype
        .as_deref()
        .unwrap_or_default()
        .parse()
        .context("--dtype")?;
    if precision == Precision::F64 {
        bail!("--dtype f64 is for checking gradients only; use f32 or bf16");
    }
    match name {
        "burn" => {
            refuse_torch_flags(values)?;
            if precision != Precision::F32 {
                bail!("--engine burn computes in f32, not in {precision}; use --engine torch");
            }
            Ok((EngineChoice::Burn, precision))
        }
        "torch" => Ok((torch(values, stages)?, precision)),
        _ => bail!("there is no engine `{name}`; use burn or torch"),
    }
}

/// Flags that only libtorch looks at.
fn refuse_torch_flags(values: &TrainValues) -> Result<()> {
    for (flag, given) in [
        ("--device", values.device.is_some()),
        ("--devices", values.devices.is_some()),
        ("--threads-per-stage", values.threads_per_stage.is_some()),
        ("--tf32", values.tf32.is_some()),
        ("--deterministic", values.deterministic.is_some()),
    ] {
        if given {
            bail!("{flag} does nothing with --engine burn; leave it out, or use --engine torch");
        }
    }
    Ok(())
}

#[cfg(not(feature = "torch"))]
fn torch(_: &TrainValues, _: usize) -> Result<EngineChoice> {
    bail!(
        "this stagger is built without engine torch; run `scripts/libtorch` in its source tree, then build with \
         `cargo build --release --features torch`"
    )
}

#[cfg(feature = "torch")]
fn torch(values: &TrainValues, stages: usize) -> Result<EngineChoice> {
    use stagger_engine::torch::TorchDevice;

    let names = match (&values.devices, &values.device) {
        (Some(_), Some(_)) => bail!("--device and --devices exclude each other; use one of them"),
        (Some(devices), None) if devices.len() != stages => bail!(
            "--devices names {} devices for {stages} stages; name one per stage",
            devices.len()
        ),
        (Some(devices), None) => devices.clone(),
        (None, device) => vec![device.clone().unwrap_or_else(|| "cpu".to_owned()); stages],
    };
    let threads =
        super::high::at_least_one(values.threads_per_stage.or(Some(1)), "--threads-per-stage")?;
    let device = |name: &String| -> Result<TorchDevice> {
        let device: TorchDevice = name.parse()?;
        let device = TorchDevice {
            threads,
            deterministic: values.deterministic.unwrap_or(true),
            tf32: values.tf32.unwrap_or(false),
            ..device
        };
        device.check()?;
        Ok(device)
    };
    let devices = names
        .iter()
        .map(device)
        .collect::<Result<Vec<_>>>()
        .context(if values.devices.is_some() {
            "--devices"
        } else {
            "--device"
        })?;
    let on_gpu = devices.iter().any(|device| device.cuda.is_some());
    if !on_gpu && (values.tf32.is_some() || values.deterministic.is_some()) {
        bail!("--tf32 and --deterministic concern CUDA devices, and none is used; leave them out");
    }
    Ok(EngineChoice::Torch(devices))
}
