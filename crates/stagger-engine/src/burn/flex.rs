//! Kernels of the CPU backend, where Burn's own measured slow.
//!
//! Tensors stay `[N, C, H, W]` to the outside, but these kernels write them channels-last in memory: a pixel's channels
//! lie side by side, so that vector instructions run over channels whatever the image's size. A tensor in another
//! memory order is converted first, which makes every result a function of the values alone.
//!
//! All is safe code; [`pulp`] picks the widest instruction set that the machine has at run time. Other precisions than
//! `f32` take Burn's own operations.

mod batch_norm;
mod buffers;
mod correlate;
mod correlate_weight;
mod elementwise;
mod memory;
mod microkernel;
mod padded;
mod subsample;

#[cfg(test)]
mod agreement;

use burn_backend::DType;
use burn_flex::{Flex, FlexTensor};

use crate::channels_last::{Serial, arch, channel_sums};
use crate::layered::{
    Convolution, Normalization, NormalizationGrads, Normalized, ProductGrads, ProductWants,
    Subsample,
};

use super::backend::{BurnKernels, Generic};

impl BurnKernels for Flex {
    fn settle() {
        buffers::settle();
    }

    fn convolution(
        input: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        geometry: Convolution,
    ) -> FlexTensor {
        if !single([&input, &weight]) {
            return Generic::<Self>::convolution(input, weight, bias, geometry);
        }
        correlate::forward(input, weight, bias, geometry)
    }

    fn convolution_backward(
        input: FlexTensor,
        weight: FlexTensor,
        output_grad: FlexTensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> ProductGrads<FlexTensor> {
        // With more padding than the kernel reaches over, whole outputs see nothing but zeros; nobody builds that.
        let reaches = geometry.padding < weight.layout().shape()[2];
        if !single([&input, &weight, &output_grad]) || !reaches {
            return Generic::<Self>::convolution_backward(
                input,
                weight,
                output_grad,
                geometry,
                wants,
            );
        }
        let input = memory::channels_last(input);
        let output_grad = memory::channels_last(output_grad);
        let weight_grad = correlate_weight::weight_grad(&input, &weight, &output_grad, geometry);
        let sides = memory::sides(&input);
        memory::recycle(input);
        let input_grad = wants
            .input
            .then(|| correlate::input_grad(sides, weight, &output_grad, geometry));
        let bias = wants.bias.then(|| {
            let [_, channels, ..] = memory::sides(&output_grad);
            let sums = channel_sums(memory::values(&output_grad), channels, &Serial);
            memory::row_major(sums, &[channels])
        });
        memory::recycle(output_grad);
        ProductGrads {
            input: input_grad,
            weight: weight_grad,
            bias,
        }
    }

    fn normalize(input: FlexTensor, with: &Normalization<FlexTensor>) -> Normalized<FlexTensor> {
        if !single([&input]) {
            return Generic::<Self>::normalize(input, with);
        }
        batch_norm::normalize(input, with)
    }

    fn normalize_by(
        input: FlexTensor,
        with: &Normalization<FlexTensor>,
        mean: FlexTensor,
        variance: FlexTensor,
    ) -> FlexTensor {
        if !single([&input]) {
            return Generic::<Self>::normalize_by(input, with, mean, variance);
        }
        batch_norm::normalize_by(input, with, mean, variance)
    }

    fn normalize_backward(
        input: FlexTensor,
        result: Normalized<FlexTensor>,
        with: &Normalization<FlexTensor>,
        output_grad: FlexTensor,
    ) -> NormalizationGrads<FlexTensor> {
        if !single([&input, &output_grad]) {
            return Generic::<Self>::normalize_backward(input, result, with, output_grad);
        }
        batch_norm::normalize_backward(input, &result, with, output_grad)
    }

    fn normalize_backward_reads_output(with: &Normalization<FlexTensor>) -> bool {
        // The f32 kernel computes the ReLU's mask from the input again, which it reads anyway.
        with.relu && !single([&with.scale])
    }

    fn relu(input: FlexTensor) -> FlexTensor {
        if single([&input]) {
            elementwise::relu(input)
        } else {
            Generic::<Self>::relu(input)
        }
    }

    fn relu_backward(output: FlexTensor, output_grad: FlexTensor) -> FlexTensor {
        if !single([&output, &output_grad]) {
            return Generic::<Self>::relu_backward(output, output_grad);
        }
        elementwise::relu_backward(output, output_grad)
    }

    fn sum(a: FlexTensor, b: FlexTensor, relu: bool) -> FlexTensor {
        if !single([&a, &b]) {
            return Generic::<Self>::sum(a, b, relu);
        }
        elementwise::sum(a, b, relu)
    }

    fn blend(a: FlexTensor, keep: f64, b: FlexTensor, gain: f64) -> FlexTensor {
        if !single([&a, &b]) {
            return Generic::<Self>::blend(a, keep, b, gain);
        }
        elementwise::blend(a, keep, b, gain)
    }

    fn subsample(input: FlexTensor, geometry: Subsample) -> FlexTensor {
        if !single([&input]) {
            return Generic::<Self>::subsample(input, geometry);
        }
        subsample::subsample(input, geometry)
    }

    fn subsample_backward(
        output_grad: FlexTensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> FlexTensor {
        if !single([&output_grad]) {
            return Generic::<Self>::subsample_backward(output_grad, shape, geometry);
        }
        subsample::subsample_backward(output_grad, shape, geometry)
    }
}

/// Whether all of these are `f32`.
fn single<const N: usize>(tensors: [&FlexTensor; N]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}
