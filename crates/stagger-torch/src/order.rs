//! Memory order: tensors of four sides are channels-last, all others row-major.

use tch::{Kind, Tensor};

use crate::failure::OrFailure;
use stagger_engine::EngineError;

use super::shim;

/// The same tensor with its memory dense and in the engine's order; a copy only if it is not so already.
pub(super) fn ordered(tensor: Tensor) -> Result<Tensor, EngineError> {
    let &[samples, channels, height, width] = tensor.size().as_slice() else {
        return tensor.f_contiguous().or_failure();
    };
    let sides = [samples, channels, height, width];
    let row = width * channels;
    let expected = [height * row, 1, row, channels];
    let found = tensor.stride();
    if found == expected {
        return Ok(tensor);
    }
    let strides = found.iter().zip(expected).zip(sides);
    // The stride of a side of 1 moves nothing. But libtorch chooses among its convolutions by it, and they round differently.
    if strides
        .into_iter()
        .all(|((&found, expected), side)| side == 1 || found == expected)
    {
        return tensor.f_as_strided(sides, expected, None).or_failure();
    }
    let rows = tensor
        .f_permute([0, 2, 3, 1])
        .or_failure()?
        .f_contiguous()
        .or_failure()?;
    rows.f_permute([0, 3, 1, 2]).or_failure()
}

/// New memory for a tensor like this one.
pub(super) fn empty_like(tensor: &Tensor) -> Result<Tensor, EngineError> {
    if tensor.dim() == 4 {
        shim::empty_like_channels_last(tensor)
    } else {
        shim::empty(&tensor.size(), tensor.kind(), tensor.device(), false)
    }
}

/// The same values in memory with no other handle; a copy only if there is one.
pub(super) fn owned(tensor: Tensor) -> Result<Tensor, EngineError> {
    if shim::is_unique(&tensor) {
        return Ok(tensor);
    }
    let mut copy = empty_like(&tensor)?;
    copy.f_copy_(&tensor).or_failure()?;
    Ok(copy)
}

/// Whether the fused loops take tensors like this: on the CPU, in a format they have.
pub(super) fn is_direct(tensor: &Tensor) -> bool {
    tensor.device() == tch::Device::Cpu && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn order_is_made_once() {
        let rows = Tensor::arange(48, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 2]);
        let last = ordered(rows.shallow_clone()).unwrap();
        assert_eq!(last.stride(), [24, 1, 6, 3]);
        assert_eq!(last, rows);
        let again = ordered(last.shallow_clone()).unwrap();
        assert_eq!(again.data_ptr(), last.data_ptr());
        // One channel: rows and channels-last are the same memory, and one tensor has one order.
        let rows = Tensor::arange(8, (Kind::Float, Device::Cpu)).reshape([2, 1, 2, 2]);
        let last = ordered(rows.shallow_clone()).unwrap();
        assert_eq!((rows.stride()[1], last.stride()[1]), (4, 1));
        assert_eq!(last.data_ptr(), rows.data_ptr());
        let matrix = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
        assert!(ordered(matrix.transpose(0, 1)).unwrap().is_contiguous());
    }

    #[test]
    fn shared_memory_is_copied() {
        let tensor = Tensor::ones([2, 3, 4, 5], (Kind::Float, Device::Cpu));
        let (at, tensor) = (tensor.data_ptr(), owned(tensor).unwrap());
        assert_eq!(tensor.data_ptr(), at);
        let copy = owned(tensor.shallow_clone()).unwrap();
        assert_ne!(copy.data_ptr(), at);
        assert_eq!(copy, tensor);
    }
}
