//! A tensor as it travels between stages.

use std::fmt;

use crate::error::EngineError;
use crate::layered::timing::timed;
use crate::stage::Activation;
use crate::tensor::HostTensor;

use super::kernels::Kernels;

/// A tensor on a stage's device, `[N, …]`. Its memory layout is the engine's own affair.
pub struct LayeredActivation<K: Kernels>(K::Tensor);

impl<K: Kernels> LayeredActivation<K> {
    /// Wraps a tensor of the library, for those who produce their input on the device.
    pub fn from_tensor(tensor: K::Tensor) -> Self {
        Self(tensor)
    }

    /// The tensor.
    pub fn into_tensor(self) -> K::Tensor {
        self.0
    }

    pub(crate) fn tensor(&self) -> &K::Tensor {
        &self.0
    }
}

impl<K: Kernels> Clone for LayeredActivation<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Kernels> fmt::Debug for LayeredActivation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LayeredActivation").field(&self.0).finish()
    }
}

impl<K: Kernels> Activation for LayeredActivation<K> {
    fn to_host(&self) -> Result<HostTensor, EngineError> {
        timed("download", || K::download(&self.0))
    }

    fn shape(&self) -> Vec<usize> {
        K::shape(&self.0)
    }

    fn size_bytes(&self) -> usize {
        K::size_bytes(&self.0)
    }
}
