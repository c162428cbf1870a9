//! Engine `torch`: stages over libtorch, on the CPU and on CUDA devices. Without the feature `torch` this crate is empty.
//!
//! Convolutions and linear layers are libtorch's (oneDNN on the CPU, cuDNN and cuBLAS on GPUs), called without autograd.
//! On the CPU, everything between them runs in fused loops over channels-last memory (`stagger_cpu::channels_last`), in
//! place where the tensor has no other handle; elsewhere it is composed of libtorch's operations.

#![cfg(feature = "torch")]

#[cfg(test)]
mod agreement;
mod device;
mod direct;
mod failure;
mod host;
mod kernels;
mod library;
mod order;
mod shim;
mod step;
mod tensor;

pub use device::TorchDevice;
pub use shim::{MemoryStats, empty_cache, memory_stats, reset_peak_memory};
pub use tensor::TorchTensor;

use stagger_engine::layered::LayeredStage;

/// libtorch as kernels of layers.
#[derive(Clone, Copy, Debug)]
pub struct Torch;

/// A stage over libtorch.
pub type TorchStage = LayeredStage<Torch>;

#[cfg(test)]
mod double_precision {
    use stagger_conformance::DoublePrecision;
    use tch::{Kind, Tensor};

    use super::order::ordered;
    use super::tensor::sides;
    use super::{Torch, TorchTensor};

    stagger_conformance::gradient_checks!(crate::Torch);

    impl DoublePrecision for Torch {
        fn tensor(values: &[f64], shape: &[usize]) -> TorchTensor {
            let tensor = Tensor::from_slice(values).reshape(sides(shape));
            ordered(tensor).unwrap().into()
        }

        fn values(tensor: &TorchTensor) -> Vec<f64> {
            let tensor = tensor
                .as_tensor()
                .to_kind(Kind::Double)
                .contiguous()
                .view(-1);
            tensor.try_into().unwrap()
        }
    }
}
