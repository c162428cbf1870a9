//! Between host memory and tensors.

use tch::{Device, Kind, Tensor};

use crate::failure::OrFailure;
use stagger_engine::EngineError;
use stagger_engine::HostTensor;

use super::order::ordered;
use super::shim;
use super::tensor::{shape, sides};

/// Brings values to the device, in the engine's memory order. On a GPU the copy is asynchronous, from pinned memory.
pub(super) fn upload(host: &HostTensor, kind: Kind, device: Device) -> Result<Tensor, EngineError> {
    host.check()?;
    let tensor = Tensor::f_from_slice(&host.data)
        .or_failure()?
        .f_reshape(sides(&host.shape))
        .or_failure()?;
    let tensor = match device {
        Device::Cpu => tensor,
        device => {
            let pinned = shim::pinned(&tensor)?;
            // Converting on the device keeps the copy small and the host free.
            pinned
                .f_to_device_(device, Kind::Float, true, false)
                .or_failure()?
        }
    };
    ordered(to_kind(tensor, kind)?)
}

/// Copies values to host memory, row-major. Waits for the calling thread's stream.
pub(super) fn download(tensor: &Tensor) -> Result<HostTensor, EngineError> {
    let rows = tensor.f_to(Device::Cpu).or_failure()?;
    let rows = to_kind(rows, Kind::Float)?.f_contiguous().or_failure()?;
    let mut data = vec![0.0_f32; rows.numel()];
    rows.f_copy_data(&mut data, rows.numel()).or_failure()?;
    Ok(HostTensor {
        shape: shape(tensor),
        data,
    })
}

/// In another format; the same tensor if it is in that already.
pub(super) fn to_kind(tensor: Tensor, kind: Kind) -> Result<Tensor, EngineError> {
    if tensor.kind() == kind {
        Ok(tensor)
    } else {
        Ok(tensor.f_to_kind(kind).or_failure()?)
    }
}
