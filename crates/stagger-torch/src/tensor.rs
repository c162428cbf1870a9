//! A tensor of libtorch, and when it is ready.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::failure::OrFailure;
use stagger_engine::EngineError;
use stagger_engine::Precision;

use super::shim::{self, Event};

/// A handle of a tensor of libtorch. One that comes from another stage on a GPU carries the point of that stage's stream
/// at which its values are there.
#[derive(Debug)]
pub struct TorchTensor {
    tensor: Tensor,
    ready: Option<Arc<Mutex<Event>>>,
}

impl Clone for TorchTensor {
    fn clone(&self) -> Self {
        Self {
            tensor: self.tensor.shallow_clone(),
            ready: self.ready.clone(),
        }
    }
}

impl From<Tensor> for TorchTensor {
    fn from(tensor: Tensor) -> Self {
        Self {
            tensor,
            ready: None,
        }
    }
}

impl TorchTensor {
    /// The tensor of `tch`.
    pub fn as_tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The tensor of `tch`.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// Marks the present point of the calling thread's stream as the one at which the values are there. On the CPU
    /// they are there already.
    pub(super) fn mark_ready(mut self) -> Result<Self, EngineError> {
        if let Device::Cuda(index) = self.tensor.device() {
            self.ready = Some(Arc::new(Mutex::new(Event::record(index)?)));
        }
        Ok(self)
    }

    /// A handle that this thread's stream on `device` may use.
    pub(super) fn on(&self, device: Device) -> Result<Self, EngineError> {
        let mut tensor = self.tensor.shallow_clone();
        if let Some(ready) = &self.ready
            && let Device::Cuda(index) = tensor.device()
        {
            let ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.block_stream(index)?;
            shim::record_stream(&tensor)?;
        }
        if tensor.device() != device {
            tensor = tensor.f_to(device).or_failure()?;
        }
        Ok(tensor.into())
    }
}

/// The sides of a tensor.
pub(super) fn shape(tensor: &Tensor) -> Vec<usize> {
    let sides = tensor.size().into_iter();
    sides
        .map(|side| usize::try_from(side).unwrap_or(0))
        .collect()
}

/// Sides as libtorch takes them.
pub(super) fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| integer(side)).collect()
}

/// A number as libtorch takes it; nothing that fits into memory is larger.
pub(super) fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A format by libtorch's name.
pub(super) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::F32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::F64 => Kind::Double,
    }
}
