//! What `tch` lacks: some of libtorch's operations, its thread pool, and the values of a tensor as a slice.
//!
//! The C++ half lies in `shim/*.cpp`; it catches every exception and answers with its message, which becomes
//! [`EngineError::Backend`] or, for want of memory, [`EngineError::OutOfMemory`].

// A foreign interface cannot be had without. The C++ half keeps no pointer after it returns, answers with new handles
// only (which `tch` then owns and frees), and reads handles of `tch`, which are pointers to `at::Tensor`.
#![allow(unsafe_code)]

mod cuda;
mod foreach;
mod layers;
mod memory;
mod threads;

pub use cuda::{
    Event, MemoryStats, empty_cache, memory_stats, pinned, record_stream, reset_peak_memory,
    set_cudnn_benchmark, set_deterministic, set_tf32, use_own_stream,
};
pub use foreach::{
    foreach_add, foreach_add_scalar, foreach_addcdiv, foreach_addcmul, foreach_mul_scalar,
    foreach_sqrt,
};
pub use layers::{
    ConvolutionSides, ThreeWants, batch_norm, batch_norm_backward, convolution_backward,
};
pub use memory::{Stored, empty, empty_like_channels_last, is_unique, values, values_mut};
pub use threads::{parallel_for, set_threads};

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

use stagger_engine::EngineError;

use super::failure::failure;

unsafe extern "C" {
    fn stagger_free_message(text: *mut c_char);
}

/// Turns the answer of the C++ half into a result.
fn check(message: *mut c_char) -> Result<(), EngineError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the C++ half answers with a string that ends in 0 and has no other owner; it is freed once, here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        stagger_free_message(message);
        text
    };
    Err(failure(&text))
}

/// Takes over a handle that the C++ half made; `None` if it made none.
///
/// # Safety
///
/// `handle` is null, or a handle that the C++ half made and that nothing else frees.
unsafe fn take(handle: *mut C_tensor) -> Option<Tensor> {
    // SAFETY: by the contract above; `tch` frees it as the `at::Tensor` that it is.
    (!handle.is_null()).then(|| unsafe { Tensor::from_ptr(handle) })
}

/// As [`take`], where the operation always makes a tensor.
///
/// # Safety
///
/// As for [`take`].
unsafe fn take_some(handle: *mut C_tensor) -> Result<Tensor, EngineError> {
    // SAFETY: by the contract above.
    unsafe { take(handle) }.ok_or_else(|| EngineError::Backend {
        message: "libtorch left out a tensor that it was asked for".to_owned(),
    })
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}
