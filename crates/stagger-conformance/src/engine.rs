//! Engines as checks take them.

use stagger_engine::layered::Kernels;

/// Kernels whose default device is the CPU, with one thread.
pub trait Engine: Kernels<Device: Default> {}

impl<K: Kernels<Device: Default>> Engine for K {}

/// An engine whose gradients can be checked: it computes in `f64` too.
pub trait DoublePrecision: Engine {
    /// A tensor of these values in row-major order.
    fn tensor(values: &[f64], shape: &[usize]) -> Self::Tensor;

    /// Its values in row-major order.
    fn values(tensor: &Self::Tensor) -> Vec<f64>;
}
