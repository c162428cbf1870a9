//! Streams, events and memory of GPUs. With a libtorch without CUDA, or without a GPU, each answers with an error that
//! says so.

use std::ffi::{c_char, c_void};
use std::ptr::{NonNull, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, take_some};
use stagger_engine::EngineError;

unsafe extern "C" {
    fn stagger_cuda_use_own_stream(device: i32) -> *mut c_char;
    fn stagger_cuda_event_new(event: *mut *mut c_void) -> *mut c_char;
    fn stagger_cuda_event_free(event: *mut c_void);
    fn stagger_cuda_event_record(event: *mut c_void, device: i32) -> *mut c_char;
    fn stagger_cuda_event_block(event: *const c_void, device: i32) -> *mut c_char;
    fn stagger_cuda_record_stream(tensor: *const C_tensor) -> *mut c_char;
    fn stagger_cuda_memory(figures: *mut i64, device: i32) -> *mut c_char;
    fn stagger_cuda_reset_peak_memory(device: i32) -> *mut c_char;
    fn stagger_cuda_empty_cache() -> *mut c_char;
    fn stagger_pinned(result: *mut *mut C_tensor, tensor: *const C_tensor) -> *mut c_char;
    fn stagger_set_deterministic(on: bool) -> *mut c_char;
    fn stagger_set_tf32(on: bool) -> *mut c_char;
    fn stagger_set_cudnn_benchmark(on: bool) -> *mut c_char;
}

fn index(device: usize) -> i32 {
    i32::try_from(device).unwrap_or(i32::MAX)
}

/// From now on the calling thread works on this GPU, on a stream from libtorch's pool: of 32 calls in a row, no two get
/// the same.
///
/// # Errors
///
/// [`EngineError::Backend`] without CUDA or this GPU.
pub fn use_own_stream(device: usize) -> Result<(), EngineError> {
    // SAFETY: takes a number only.
    check(unsafe { stagger_cuda_use_own_stream(index(device)) })
}

/// A point in the work of a stream that other streams and the host can wait for.
#[derive(Debug)]
pub struct Event(NonNull<c_void>);

// SAFETY: CUDA events belong to the process, not to a thread. `c10::Event` is not thread-safe: it is `Send`, not `Sync`.
unsafe impl Send for Event {}

impl Event {
    /// An event at this point of the calling thread's stream on this GPU.
    ///
    /// # Errors
    ///
    /// [`EngineError::Backend`] without CUDA or this GPU.
    pub fn record(device: usize) -> Result<Self, EngineError> {
        let mut event = null_mut();
        // SAFETY: room for the result, which is a new event.
        check(unsafe { stagger_cuda_event_new(&mut event) })?;
        let event = NonNull::new(event).map(Self).ok_or(EngineError::Backend {
            message: "libtorch made no event".to_owned(),
        })?;
        event.record_again(device)?;
        Ok(event)
    }

    /// Moves the event to this point of the calling thread's stream; the GPU is that of its first recording.
    ///
    /// # Errors
    ///
    /// [`EngineError::Backend`] for another GPU.
    pub fn record_again(&self, device: usize) -> Result<(), EngineError> {
        // SAFETY: a live event, and only this thread uses it.
        check(unsafe { stagger_cuda_event_record(self.0.as_ptr(), index(device)) })
    }

    /// Lets the calling thread's stream on this GPU wait for the event; the host does not wait.
    ///
    /// # Errors
    ///
    /// [`EngineError::Backend`] without this GPU.
    pub fn block_stream(&self, device: usize) -> Result<(), EngineError> {
        // SAFETY: a live event, and only this thread uses it.
        check(unsafe { stagger_cuda_event_block(self.0.as_ptr(), index(device)) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `stagger_cuda_event_new`, and freed once, here.
        unsafe { stagger_cuda_event_free(self.0.as_ptr()) }
    }
}

/// Keeps the tensor's memory from being given out again before the calling thread's stream has passed this point; for
/// a tensor that another stream made.
///
/// # Errors
///
/// [`EngineError::Backend`] for a tensor that is not on a GPU.
pub fn record_stream(tensor: &Tensor) -> Result<(), EngineError> {
    // SAFETY: a live handle.
    check(unsafe { stagger_cuda_record_stream(tensor.as_ptr()) })
}

/// What libtorch's allocator holds of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes in tensors.
    pub allocated_bytes: u64,
    /// Bytes taken from the device, in tensors or kept for the next.
    pub reserved_bytes: u64,
    /// Most bytes in tensors since the start or [`reset_peak_memory`].
    pub peak_allocated_bytes: u64,
    /// Most bytes taken from the device since then.
    pub peak_reserved_bytes: u64,
}

/// Memory of all streams of this GPU.
///
/// # Errors
///
/// [`EngineError::Backend`] without CUDA or this GPU.
pub fn memory_stats(device: usize) -> Result<MemoryStats, EngineError> {
    let mut figures = [0i64; 4];
    // SAFETY: room for the four results.
    check(unsafe { stagger_cuda_memory(figures.as_mut_ptr(), index(device)) })?;
    let [allocated, reserved, peak_allocated, peak_reserved] =
        figures.map(|bytes| u64::try_from(bytes).unwrap_or(0));
    Ok(MemoryStats {
        allocated_bytes: allocated,
        reserved_bytes: reserved,
        peak_allocated_bytes: peak_allocated,
        peak_reserved_bytes: peak_reserved,
    })
}

/// Starts the peaks of [`memory_stats`] again.
///
/// # Errors
///
/// [`EngineError::Backend`] without CUDA or this GPU.
pub fn reset_peak_memory(device: usize) -> Result<(), EngineError> {
    // SAFETY: takes a number only.
    check(unsafe { stagger_cuda_reset_peak_memory(index(device)) })
}

/// Gives memory that no tensor uses back to the devices.
///
/// # Errors
///
/// [`EngineError::Backend`] without CUDA.
pub fn empty_cache() -> Result<(), EngineError> {
    // SAFETY: takes nothing.
    check(unsafe { stagger_cuda_empty_cache() })
}

/// A copy in pinned host memory, from which a GPU copies by itself. Its memory is used again once the streams that read it
/// are done.
///
/// # Errors
///
/// [`EngineError::Backend`] without CUDA, or when there is no such memory.
pub fn pinned(tensor: &Tensor) -> Result<Tensor, EngineError> {
    let mut result = null_mut();
    // SAFETY: room for the result, a live handle; the result is a new one.
    unsafe {
        check(stagger_pinned(&mut result, tensor.as_ptr()))?;
        take_some(result)
    }
}

/// Whether operations must give the same numbers in every run, for the whole process. cuBLAS also wants
/// `CUBLAS_WORKSPACE_CONFIG=:4096:8` in the environment before its first use.
///
/// # Errors
///
/// [`EngineError::Backend`] if libtorch refuses.
pub fn set_deterministic(on: bool) -> Result<(), EngineError> {
    // SAFETY: takes a flag only.
    check(unsafe { stagger_set_deterministic(on) })
}

/// Whether `f32` products on GPUs may round their factors to TF32, for the whole process.
///
/// # Errors
///
/// [`EngineError::Backend`] if libtorch refuses.
pub fn set_tf32(on: bool) -> Result<(), EngineError> {
    // SAFETY: takes a flag only.
    check(unsafe { stagger_set_tf32(on) })
}

/// Whether cuDNN tries its algorithms on the first batch of each shape, for the whole process.
///
/// # Errors
///
/// [`EngineError::Backend`] if libtorch refuses.
pub fn set_cudnn_benchmark(on: bool) -> Result<(), EngineError> {
    // SAFETY: takes a flag only.
    check(unsafe { stagger_set_cudnn_benchmark(on) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn without_a_gpu_the_error_says_what_to_do() {
        if tch::Cuda::is_available() {
            return;
        }
        let answers = [
            use_own_stream(0),
            Event::record(0).map(drop),
            memory_stats(0).map(drop),
            reset_peak_memory(0),
            empty_cache(),
        ];
        for answer in answers {
            let message = answer.unwrap_err().to_string();
            assert!(message.contains("scripts/libtorch --cuda"), "{message}");
        }
        let tensor = Tensor::zeros([1], (Kind::Float, Device::Cpu));
        assert!(pinned(&tensor).is_err());
        assert!(record_stream(&tensor).is_err());
    }

    #[test]
    fn threads_work_on_streams_of_their_own_and_wait_for_each_other() {
        if !tch::Cuda::is_available() {
            println!("skipped: no GPU");
            return;
        }
        reset_peak_memory(0).unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        let first = std::thread::spawn(move || {
            use_own_stream(0).unwrap();
            let mut tensor = Tensor::ones([2048, 2048], (Kind::Float, Device::Cuda(0)));
            for _ in 0..20 {
                tensor = tensor.matmul(&tensor) / 2048.0;
            }
            send.send((tensor, Event::record(0).unwrap())).unwrap();
        });
        use_own_stream(0).unwrap();
        let (tensor, event) = receive.recv().unwrap();
        event.block_stream(0).unwrap();
        record_stream(&tensor).unwrap();
        assert_eq!(tensor.mean(Kind::Double).double_value(&[]), 1.0);
        first.join().unwrap();
        let stats = memory_stats(0).unwrap();
        assert!(stats.allocated_bytes >= 2048 * 2048 * 4);
        assert!(stats.peak_allocated_bytes > stats.allocated_bytes);
        assert!(event.record_again(1).is_err());
        assert!(use_own_stream(1000).is_err());
    }

    #[test]
    fn switches_are_accepted() {
        for on in [true, false] {
            set_deterministic(on).unwrap();
            set_tf32(on).unwrap();
            set_cudnn_benchmark(on).unwrap();
        }
    }
}
