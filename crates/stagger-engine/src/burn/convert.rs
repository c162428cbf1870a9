//! Between host memory and backend tensors.

use burn_backend::tensor::{Device, FloatTensor};
use burn_backend::{
    Backend, DType, ExecutionError, FloatDType, TensorData, TensorMetadata, read_sync,
};

use crate::error::EngineError;
use crate::tensor::HostTensor;

/// Brings values to the device in the given precision.
pub(crate) fn to_device<B: Backend>(
    shape: &[usize],
    data: Vec<f32>,
    precision: FloatDType,
    device: &Device<B>,
) -> FloatTensor<B> {
    let tensor = B::float_from_data(TensorData::new(data, shape.to_vec()), device);
    match precision {
        FloatDType::F32 => tensor,
        other => B::float_cast(tensor, other),
    }
}

/// Copies a tensor to host memory.
pub(crate) fn to_host<B: Backend>(tensor: FloatTensor<B>) -> Result<HostTensor, EngineError> {
    let shape = tensor.shape().to_vec();
    let tensor = match tensor.dtype() {
        DType::F32 => tensor,
        _ => B::float_cast(tensor, FloatDType::F32),
    };
    let data = read_sync(B::float_into_data(tensor)).map_err(failed)?;
    let data = data.try_into_vec::<f32>().map_err(failed)?;
    Ok(HostTensor { shape, data })
}

/// The value of a tensor with one element.
pub(crate) fn to_scalar<B: Backend>(tensor: FloatTensor<B>) -> Result<f64, EngineError> {
    let tensor = B::float_cast(tensor, FloatDType::F64);
    let data = read_sync(B::float_into_data(tensor)).map_err(failed)?;
    Ok(data
        .try_into_vec::<f64>()
        .map_err(failed)?
        .first()
        .copied()
        .unwrap_or(f64::NAN))
}

/// The same value everywhere.
pub(crate) fn filled<B: Backend>(
    shape: &[usize],
    value: f64,
    precision: FloatDType,
    device: &Device<B>,
) -> FloatTensor<B> {
    B::float_full(shape.to_vec().into(), value.into(), device, precision)
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Backend {
        message: error.to_string(),
    }
}

impl From<ExecutionError> for EngineError {
    fn from(error: ExecutionError) -> Self {
        failed(error)
    }
}
