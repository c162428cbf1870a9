//! Tensors' memory: who holds it, its values as a slice, and new memory.

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::{check, take_some};
use stagger_cpu::channels_last::{Bf16, Element};
use stagger_engine::EngineError;

unsafe extern "C" {
    fn stagger_use_count(tensor: *const C_tensor) -> usize;
    fn stagger_values(
        data: *mut *const c_void,
        count: *mut usize,
        tensor: *const C_tensor,
        kind: i32,
    ) -> *mut c_char;
    fn stagger_values_mut(data: *mut *mut c_void, tensor: *const C_tensor) -> *mut c_char;
    fn stagger_empty(
        result: *mut *mut C_tensor,
        shape: *const i64,
        sides: usize,
        kind: i32,
        cuda: i32,
        channels_last: bool,
    ) -> *mut c_char;
    fn stagger_empty_like_channels_last(
        result: *mut *mut C_tensor,
        tensor: *const C_tensor,
    ) -> *mut c_char;
}

/// Handles on the tensor, or on its memory if those are more: views and detached tensors count, and what a graph of
/// autograd saved. 0 for an undefined tensor.
pub fn use_count(tensor: &Tensor) -> usize {
    // SAFETY: a live handle.
    unsafe { stagger_use_count(tensor.as_ptr()) }
}

/// Whether nothing else can see the tensor's memory, so that it may be written in place.
pub fn is_unique(tensor: &Tensor) -> bool {
    use_count(tensor) == 1
}

/// A type of values that libtorch stores.
///
/// # Safety
///
/// The type has the size and alignment of `KIND`, and all its bit patterns are valid.
pub unsafe trait Stored: Element {
    /// What libtorch calls it.
    const KIND: Kind;
}

// SAFETY: `f32` is what `Kind::Float` holds.
unsafe impl Stored for f32 {
    const KIND: Kind = Kind::Float;
}

// SAFETY: `Bf16` wraps the 16 bits that `Kind::BFloat16` holds, and has their alignment.
unsafe impl Stored for Bf16 {
    const KIND: Kind = Kind::BFloat16;
}

/// The values of a dense tensor on the CPU, in the order of memory: `[N, C, H, W]`, or `[N, H, W, C]` where it is
/// channels_last.
///
/// While the slice lives, the tensor must not be written through another handle; [`values_mut`] sees to that,
/// operations in place do not.
///
/// # Errors
///
/// [`EngineError::Backend`] for another kind or device, or strides that leave gaps or permute otherwise.
pub fn values<T: Stored>(tensor: &Tensor) -> Result<&[T], EngineError> {
    let (mut data, mut count) = (null(), 0);
    let kind = number(T::KIND)?;
    // SAFETY: a live handle, and room for the two results.
    check(unsafe { stagger_values(&mut data, &mut count, tensor.as_ptr(), kind) })?;
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: the C++ half has checked kind, device and strides, so that `count` values lie there without gaps; the
    // memory lives as long as the handle, which is borrowed. libtorch aligns to 64 bytes, and views by whole values.
    Ok(unsafe { std::slice::from_raw_parts(data.cast::<T>(), count) })
}

/// As [`values`], for writing.
///
/// # Errors
///
/// As for [`values`], and if there is another handle on the memory.
pub fn values_mut<T: Stored>(tensor: &mut Tensor) -> Result<&mut [T], EngineError> {
    let count = values::<T>(tensor)?.len();
    if !is_unique(tensor) {
        return Err(EngineError::Backend {
            message: format!(
                "a tensor of shape {:?} cannot be written in place: its memory has {} handles; copy it first",
                tensor.size(),
                use_count(tensor)
            ),
        });
    }
    if count == 0 {
        return Ok(&mut []);
    }
    let mut data = null_mut();
    // SAFETY: a live handle, and room for the result.
    check(unsafe { stagger_values_mut(&mut data, tensor.as_ptr()) })?;
    // SAFETY: as in `values`; this is the only handle on the memory, and it is borrowed for writing.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<T>(), count) })
}

/// A tensor whose values are whatever its memory holds, channels_last (four sides) or contiguous.
///
/// # Errors
///
/// [`EngineError::Backend`] for a side below 0, or a kind or device that engine `torch` does not use;
/// [`EngineError::OutOfMemory`].
pub fn empty(
    shape: &[i64],
    kind: Kind,
    device: Device,
    channels_last: bool,
) -> Result<Tensor, EngineError> {
    let cuda = match device {
        Device::Cpu => Some(-1),
        Device::Cuda(index) => i32::try_from(index).ok(),
        _ => None,
    };
    let cuda = cuda.ok_or_else(|| EngineError::Backend {
        message: format!("engine `torch` runs on CPUs and CUDA, not on {device:?}"),
    })?;
    let mut result = null_mut();
    // SAFETY: `shape` holds as many sides as are read; the result is a new handle.
    unsafe {
        check(stagger_empty(
            &mut result,
            shape.as_ptr(),
            shape.len(),
            number(kind)?,
            cuda,
            channels_last,
        ))?;
        take_some(result)
    }
}

/// As [`empty`], with shape (four sides), kind and device of another tensor, channels_last.
///
/// # Errors
///
/// [`EngineError::Backend`] if the tensor has not four dimensions; [`EngineError::OutOfMemory`].
pub fn empty_like_channels_last(tensor: &Tensor) -> Result<Tensor, EngineError> {
    let mut result = null_mut();
    // SAFETY: a live handle; the result is a new one.
    unsafe {
        check(stagger_empty_like_channels_last(
            &mut result,
            tensor.as_ptr(),
        ))?;
        take_some(result)
    }
}

/// The number of a kind in libtorch's `c10/core/ScalarType.h`, which `tch` keeps to itself.
fn number(kind: Kind) -> Result<i32, EngineError> {
    match kind {
        Kind::Uint8 => Ok(0),
        Kind::Int => Ok(3),
        Kind::Int64 => Ok(4),
        Kind::Half => Ok(5),
        Kind::Float => Ok(6),
        Kind::Double => Ok(7),
        Kind::Bool => Ok(11),
        Kind::BFloat16 => Ok(15),
        _ => Err(EngineError::Backend {
            message: format!("engine `torch` has no tensors of {kind:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Tensor {
        Tensor::from_slice(&[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).reshape([1, 2, 2, 2])
    }

    #[test]
    fn clones_views_and_graphs_count_as_users() {
        let tensor = Tensor::zeros([4, 4], (Kind::Float, Device::Cpu));
        assert!(is_unique(&tensor));
        let clone = tensor.shallow_clone();
        assert_eq!(use_count(&tensor), 2);
        drop(clone);
        let view = tensor.narrow(0, 1, 2);
        assert_eq!((use_count(&tensor), use_count(&view)), (2, 2));
        drop(view);
        let detached = tensor.detach();
        assert_eq!((use_count(&tensor), use_count(&detached)), (2, 2));
        drop(tensor);
        assert!(is_unique(&detached));

        let leaf = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let saved = &leaf * 2.0;
        let output = saved.exp();
        let square = &output * &output;
        assert!(!is_unique(&output));
        drop(square);
    }

    #[test]
    fn slices_read_and_write_in_the_order_of_memory() {
        let mut tensor = numbers().contiguous();
        tensor = tensor.copy();
        values_mut::<f32>(&mut tensor).unwrap()[3] = 30.0;
        assert_eq!(tensor.double_value(&[0, 0, 1, 1]), 30.0);
        assert_eq!(values::<f32>(&tensor).unwrap()[2..5], [2.0, 30.0, 4.0]);

        let last = numbers().permute([0, 2, 3, 1]).contiguous();
        let last = last.permute([0, 3, 1, 2]);
        assert_eq!(
            values::<f32>(&last).unwrap(),
            [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]
        );

        let mut half = tensor.to_kind(Kind::BFloat16);
        assert_eq!(values::<Bf16>(&half).unwrap()[1].0, 0x3f80);
        values_mut::<Bf16>(&mut half).unwrap()[0] = Bf16(0x4000);
        assert_eq!(half.double_value(&[0, 0, 0, 0]), 2.0);

        let nothing = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
        assert!(values::<f32>(&nothing).unwrap().is_empty());
    }

    #[test]
    fn slices_refuse_other_kinds_strides_and_shared_memory() {
        let wrong_kind = numbers().to_kind(Kind::Double);
        let sparse = numbers().narrow(3, 0, 1);
        let permuted = numbers().transpose(2, 3);
        for (tensor, reason) in [
            (&wrong_kind, "Double"),
            (&sparse, "neither contiguous nor channels_last"),
            (&permuted, "neither contiguous nor channels_last"),
            (&Tensor::new(), "undefined"),
        ] {
            let message = values::<f32>(tensor).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
        assert!(values::<Bf16>(&numbers()).is_err());

        let mut tensor = numbers().copy();
        let view = tensor.narrow(1, 0, 1);
        let message = values_mut::<f32>(&mut tensor).unwrap_err().to_string();
        assert!(message.contains("2 handles"), "{message}");
        drop(view);
        assert!(values_mut::<f32>(&mut tensor).is_ok());
    }

    #[test]
    fn empty_tensors_have_the_strides_asked_for() {
        let tensor = empty(&[2, 3, 4, 5], Kind::Float, Device::Cpu, true).unwrap();
        assert_eq!(tensor.size(), [2, 3, 4, 5]);
        assert_eq!(tensor.stride(), [60, 1, 15, 3]);
        let tensor = empty(&[2, 3, 4, 5], Kind::BFloat16, Device::Cpu, false).unwrap();
        assert_eq!(
            (tensor.stride(), tensor.kind()),
            (vec![60, 20, 5, 1], Kind::BFloat16)
        );
        let like = empty_like_channels_last(&tensor).unwrap();
        assert_eq!(
            (like.stride(), like.kind()),
            (vec![60, 1, 15, 3], Kind::BFloat16)
        );
        assert!(empty(&[2, 3], Kind::Float, Device::Cpu, true).is_err());
        assert!(empty(&[2, -3], Kind::Float, Device::Cpu, false).is_err());
        assert!(empty(&[2], Kind::Float, Device::Mps, false).is_err());
    }
}
