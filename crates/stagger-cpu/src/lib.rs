//! Engine `cpu`: stages on the processor, in safe Rust, each on the thread that calls it, and on helpers of that thread where
//! [`CpuDevice`] says so.
//!
//! [`Cpu`] implements [`stagger_engine::layered::Kernels`] in `f32`. Tensors are `[N, C, H, W]` to the outside; the kernels write
//! them channels-last in memory: a pixel's channels lie side by side, so that vector instructions run over channels whatever
//! the image's size. [`pulp`] picks the widest instruction set at run time. Results depend on the values alone, never on
//! memory order, on timing or on the number of threads.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`channels_last`] | loops over plain slices of `f32` or `bf16`, with any number of threads; engine `torch` uses them too |
//! | [`fused_step`] | an optimizer step in one pass over memory |
//! | `threads` | what a stage's threads share out among themselves |
//! | `tensor`, `buffers` | a shape, an order and a counted buffer; the memory that a thread uses again |
//! | `convolution` | which of these makes a convolution: `correlate`, `correlate_weight` and `input_grad` (linear layers too), `depthwise`, `grouped` |

mod batch_norm;
mod buffers;
pub mod channels_last;
mod concat;
mod convolution;
mod correlate;
mod correlate_weight;
mod depthwise;
mod elementwise;
pub mod fused_step;
mod grouped;
mod input_grad;
mod kernels;
mod linear;
mod max_pool;
mod microkernel;
mod padded;
mod subsample;
mod tensor;
mod threads;
mod window_average;
mod winograd;

#[cfg(test)]
mod agreement;

pub use channels_last::instruction_set;
pub use max_pool::Maxima;
pub use tensor::CpuTensor;

use stagger_engine::layered::LayeredStage;

/// The kernels of engine `cpu`.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;

/// Where engine `cpu` runs a stage: the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuDevice {
    /// Threads of the stage, the one that calls it included; 0 counts as 1. Their number has no influence on any result.
    pub threads: usize,
}

/// One thread, the one that calls the stage.
impl Default for CpuDevice {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

/// Ends the helper threads of the calling thread. Call it when the thread has finished with its stages and does other work.
pub fn release_threads() {
    threads::release();
}

/// A stage on the processor.
pub type CpuStage = LayeredStage<Cpu>;
