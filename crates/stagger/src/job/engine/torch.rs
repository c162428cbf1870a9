//! Stages on engine `torch`, all of them or some.

use stagger_cpu::CpuDevice;
use stagger_engine::Precision;
use stagger_runtime::Replicas;
use stagger_torch::TorchDevice;

use super::{
    CPU, Engine, EngineChoice, PlaceEngine, device_option, of_places, threads, unreadable,
};
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// Reads the devices of stages on these engines.
pub(super) fn torch(
    values: &TrainingOptions,
    engines: &[Engine],
    replicas: &Replicas,
    precision: Precision,
) -> Result<EngineChoice, Refusal> {
    if let Some(stage) = engines.iter().position(|engine| *engine == Engine::Cpu)
        && precision != Precision::F32
    {
        return Err(Refusal::StageFormat {
            stage,
            engine: CPU,
            found: precision,
        });
    }
    let engine_of = |number: usize| engines[replicas.place(number).stage];
    let names = match (&values.devices, &values.device) {
        (Some(_), Some(_)) => return Err(Refusal::DeviceTwice),
        (Some(devices), None) => of_places(devices, engines, replicas)?,
        (None, device) => {
            let device = device.as_deref().unwrap_or(CPU);
            vec![device; replicas.places()]
        }
    };
    let threads = threads(values)?;
    let read = |name: &str| -> Result<TorchDevice, Refusal> {
        let device: TorchDevice = name
            .parse()
            .map_err(|source| unreadable(device_option(values), source))?;
        Ok(TorchDevice {
            threads,
            deterministic: values.deterministic.unwrap_or(true),
            tf32: values.tf32.unwrap_or(false),
            ..device
        })
    };
    let of_place = |(number, name): (usize, &&str)| match engine_of(number) {
        Engine::Cpu => Ok(PlaceEngine::Cpu(CpuDevice { threads })),
        Engine::Torch => Ok(PlaceEngine::Torch(read(name)?)),
    };
    let places = names.iter().enumerate().map(of_place);
    let places = places.collect::<Result<Vec<_>, _>>()?;
    refuse_kinds(&places, replicas)?;
    if !places.iter().any(|place| place.cuda().is_some())
        && (values.tf32.is_some() || values.deterministic.is_some())
    {
        return Err(Refusal::NoCuda);
    }
    let devices = places.iter().map(|place| match place {
        PlaceEngine::Cpu(_) => None,
        PlaceEngine::Torch(device) => Some(*device),
    });
    Ok(match devices.collect() {
        Some(devices) => EngineChoice::Torch(devices),
        None => EngineChoice::Mixed(places),
    })
}

/// Refuses replicas of one stage on processors and GPUs: the same update has other last bits there, and nothing brings their
/// weights together again.
fn refuse_kinds(places: &[PlaceEngine], replicas: &Replicas) -> Result<(), Refusal> {
    for stage in 0..replicas.stages() {
        let own = &places[replicas.places_of(stage..stage + 1)];
        let is_like_first =
            |place: &&PlaceEngine| place.cuda().is_some() == own[0].cuda().is_some();
        if let Some(other) = own.iter().find(|place| !is_like_first(place)) {
            return Err(Refusal::ReplicaDevices {
                stage,
                one: own[0].to_string(),
                other: other.to_string(),
            });
        }
    }
    Ok(())
}
