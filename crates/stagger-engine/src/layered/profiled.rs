//! Kernels that are timed.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Instant;

use crate::error::EngineError;
use crate::optimizer::Optimizer;
use crate::precision::Precision;
use crate::profile::Profile;
use crate::tensor::HostTensor;

use super::kernels::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};

/// The kernels `K`, each call of which is booked in the [`Profile`] of its thread. On a GPU, where kernels run after they
/// are called, that is the time to launch them.
#[derive(Debug)]
pub struct Profiled<K>(PhantomData<K>);

thread_local! {
    static PROFILE: RefCell<Profile> = RefCell::default();
}

fn timed<R>(kernel: &'static str, run: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = run();
    let time = start.elapsed();
    PROFILE.with_borrow_mut(|profile| profile.add(kernel, time));
    result
}

impl<K: Kernels> Kernels for Profiled<K> {
    type Tensor = K::Tensor;
    type Device = K::Device;
    type Indices = K::Indices;

    const ENGINE: &'static str = K::ENGINE;

    fn settle() {
        K::settle();
    }

    fn profile() -> Option<Profile> {
        Some(PROFILE.take())
    }

    fn hand_over(tensor: Self::Tensor, device: &Self::Device) -> Result<Self::Tensor, EngineError> {
        K::hand_over(tensor, device)
    }

    fn take_over(
        tensor: &Self::Tensor,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        K::take_over(tensor, device)
    }

    fn prepare(device: &Self::Device, precision: Precision) -> Result<(), EngineError> {
        K::prepare(device, precision)
    }

    fn upload(
        host: HostTensor,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        timed("upload", || K::upload(host, precision, device))
    }

    fn download(tensor: &Self::Tensor) -> Result<HostTensor, EngineError> {
        timed("download", || K::download(tensor))
    }

    fn filled(
        shape: &[usize],
        value: f64,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        K::filled(shape, value, precision, device)
    }

    fn cast(tensor: &Self::Tensor, precision: Precision) -> Result<Self::Tensor, EngineError> {
        K::cast(tensor, precision)
    }

    fn shape(tensor: &Self::Tensor) -> Vec<usize> {
        K::shape(tensor)
    }

    fn size_bytes(tensor: &Self::Tensor) -> usize {
        K::size_bytes(tensor)
    }

    fn convolution(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
        geometry: Convolution,
    ) -> Result<Self::Tensor, EngineError> {
        timed("convolution", || {
            K::convolution(input, weight, bias, geometry)
        })
    }

    fn convolution_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError> {
        timed("convolution backward", || {
            K::convolution_backward(input, weight, output_grad, geometry, wants)
        })
    }

    fn normalize(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        addend: Option<Self::Tensor>,
        wants_output: bool,
    ) -> Result<Normalized<Self::Tensor>, EngineError> {
        timed("normalization", || {
            K::normalize(input, with, addend, wants_output)
        })
    }

    fn normalize_by(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        mean: Self::Tensor,
        variance: Self::Tensor,
        addend: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError> {
        timed("normalization", || {
            K::normalize_by(input, with, mean, variance, addend)
        })
    }

    fn normalize_backward(
        tape: NormalizationTape<Self::Tensor>,
        with: &Normalization<Self::Tensor>,
        output_grad: Self::Tensor,
    ) -> Result<NormalizationGrads<Self::Tensor>, EngineError> {
        timed("normalization backward", || {
            K::normalize_backward(tape, with, output_grad)
        })
    }

    fn keeps_output(with: &Normalization<Self::Tensor>, added: bool) -> bool {
        K::keeps_output(with, added)
    }

    fn relu(input: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        timed("relu", || K::relu(input))
    }

    fn relu_backward(
        output: Self::Tensor,
        output_grad: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError> {
        timed("relu backward", || K::relu_backward(output, output_grad))
    }

    fn sum(a: Self::Tensor, b: Self::Tensor, relu: bool) -> Result<Self::Tensor, EngineError> {
        timed("sum", || K::sum(a, b, relu))
    }

    fn multiply(a: Self::Tensor, b: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        timed("dropout", || K::multiply(a, b))
    }

    fn subsample(input: Self::Tensor, geometry: Subsample) -> Result<Self::Tensor, EngineError> {
        timed("subsample", || K::subsample(input, geometry))
    }

    fn subsample_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<Self::Tensor, EngineError> {
        timed("subsample backward", || {
            K::subsample_backward(output_grad, shape, geometry)
        })
    }

    fn max_pool(
        input: Self::Tensor,
        window: Window,
    ) -> Result<(Self::Tensor, Self::Indices), EngineError> {
        timed("max pool", || K::max_pool(input, window))
    }

    fn max_pool_backward(
        input: Self::Tensor,
        indices: Self::Indices,
        output_grad: Self::Tensor,
        window: Window,
    ) -> Result<Self::Tensor, EngineError> {
        timed("max pool backward", || {
            K::max_pool_backward(input, indices, output_grad, window)
        })
    }

    fn global_average(input: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        timed("average pool", || K::global_average(input))
    }

    fn global_average_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
    ) -> Result<Self::Tensor, EngineError> {
        timed("average pool backward", || {
            K::global_average_backward(output_grad, shape)
        })
    }

    fn reshape(tensor: Self::Tensor, shape: &[usize]) -> Result<Self::Tensor, EngineError> {
        timed("reshape", || K::reshape(tensor, shape))
    }

    fn linear(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError> {
        timed("linear", || K::linear(input, weight, bias))
    }

    fn linear_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError> {
        timed("linear backward", || {
            K::linear_backward(input, weight, output_grad, wants)
        })
    }

    fn accumulate(sum: Self::Tensor, gradient: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        timed("gradient sum", || K::accumulate(sum, gradient))
    }

    fn blend(
        a: Self::Tensor,
        keep: f64,
        b: Self::Tensor,
        gain: f64,
    ) -> Result<Self::Tensor, EngineError> {
        timed("weighted sum", || K::blend(a, keep, b, gain))
    }

    fn square_sum(tensors: &[&Self::Tensor]) -> Result<f64, EngineError> {
        timed("clipping", || K::square_sum(tensors))
    }

    fn scale(tensor: Self::Tensor, factor: f64) -> Result<Self::Tensor, EngineError> {
        timed("clipping", || K::scale(tensor, factor))
    }

    fn step(
        optimizer: &Optimizer,
        step: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, Self::Tensor>>,
    ) -> Result<(), EngineError> {
        timed("optimizer step", || {
            K::step(optimizer, step, learning_rate, parameters)
        })
    }
}
