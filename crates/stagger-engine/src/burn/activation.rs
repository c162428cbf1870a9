//! A backend tensor as it travels between stages.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorMetadata};

use crate::error::EngineError;
use crate::stage::Activation;
use crate::tensor::HostTensor;

use super::convert;

/// A tensor on a Burn device, `[N, …]`. Its memory layout is the backend's own affair.
#[derive(Clone, Debug)]
pub struct BurnActivation<B: Backend>(FloatTensor<B>);

impl<B: Backend> BurnActivation<B> {
    /// Wraps a backend tensor, for those who produce their input on the device.
    pub fn from_primitive(tensor: FloatTensor<B>) -> Self {
        Self(tensor)
    }

    /// The backend tensor.
    pub fn into_primitive(self) -> FloatTensor<B> {
        self.0
    }

    pub(crate) fn primitive(&self) -> &FloatTensor<B> {
        &self.0
    }
}

impl<B: Backend> Activation for BurnActivation<B> {
    fn to_host(&self) -> Result<HostTensor, EngineError> {
        convert::to_host::<B>(self.0.clone())
    }

    fn shape(&self) -> Vec<usize> {
        self.0.shape().to_vec()
    }

    fn size_bytes(&self) -> usize {
        self.0.shape().num_elements() * self.0.dtype().size()
    }
}
