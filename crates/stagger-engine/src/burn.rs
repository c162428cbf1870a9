//! Engine `burn`: stages over the operations of Burn's backends.
//!
//! Everything is generic over [`BurnKernels`]: any Burn backend can implement it with an empty `impl`; the CPU backend
//! Flex overrides what measured slow.

mod backend;
mod convert;
mod flex;
mod kernels;
mod step;

pub use backend::BurnKernels;
pub use burn_flex::{Flex, FlexDevice};

use crate::layered::LayeredStage;

/// A stage over a Burn backend.
pub type BurnStage<B> = LayeredStage<B>;

/// A stage on the CPU, in pure Rust, on the calling thread.
pub type CpuStage = BurnStage<Flex>;

#[cfg(test)]
mod wide {
    use burn_backend::ops::FloatTensorOps;
    use burn_backend::{TensorData, read_sync};
    use burn_flex::{Flex, FlexDevice, FlexTensor};

    use crate::layered::gradient_check::Wide;

    impl Wide for Flex {
        fn device() -> FlexDevice {
            FlexDevice
        }

        fn tensor(values: &[f64], shape: &[usize]) -> FlexTensor {
            let data = TensorData::new(values.to_vec(), shape.to_vec());
            Self::float_from_data(data, &FlexDevice)
        }

        fn values(tensor: &FlexTensor) -> Vec<f64> {
            let data = read_sync(Self::float_into_data(tensor.clone())).unwrap();
            data.try_into_vec::<f64>().unwrap()
        }
    }
}
