//! Burn's backends as kernels of layers.

use burn_backend::tensor::{Device, FloatTensor, IntTensor};
use burn_backend::{FloatDType, Shape, TensorMetadata, get_or_init_device_settings};

use crate::error::EngineError;
use crate::layered::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};
use crate::optimizer::Optimizer;
use crate::precision::Precision;
use crate::tensor::HostTensor;

use super::backend::BurnKernels;
use super::convert::{filled, to_device, to_host, to_scalar};
use super::step::step;

impl<B: BurnKernels> Kernels for B {
    type Tensor = FloatTensor<B>;
    type Device = Device<B>;
    type Indices = IntTensor<B>;

    const ENGINE: &'static str = "burn";

    fn prepare(_: &Self::Device, precision: Precision) -> Result<(), EngineError> {
        format(precision).map(drop)
    }

    fn settle() {
        <B as BurnKernels>::settle();
    }

    fn upload(
        host: HostTensor,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(to_device::<B>(
            &host.shape,
            host.data,
            format(precision)?,
            device,
        ))
    }

    fn download(tensor: &Self::Tensor) -> Result<HostTensor, EngineError> {
        to_host::<B>(tensor.clone())
    }

    fn filled(
        shape: &[usize],
        value: f64,
        precision: Precision,
        device: &Self::Device,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(filled::<B>(shape, value, format(precision)?, device))
    }

    fn cast(tensor: &Self::Tensor, precision: Precision) -> Result<Self::Tensor, EngineError> {
        Ok(B::float_cast(tensor.clone(), format(precision)?))
    }

    fn shape(tensor: &Self::Tensor) -> Vec<usize> {
        tensor.shape().to_vec()
    }

    fn size_bytes(tensor: &Self::Tensor) -> usize {
        tensor.shape().num_elements() * tensor.dtype().size()
    }

    fn convolution(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
        geometry: Convolution,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::convolution(
            input, weight, bias, geometry,
        ))
    }

    fn convolution_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError> {
        Ok(<B as BurnKernels>::convolution_backward(
            input,
            weight,
            output_grad,
            geometry,
            wants,
        ))
    }

    fn normalize(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        addend: Option<Self::Tensor>,
        _wants_output: bool,
    ) -> Result<Normalized<Self::Tensor>, EngineError> {
        let Some(addend) = addend else {
            return Ok(<B as BurnKernels>::normalize(input, with));
        };
        let result = <B as BurnKernels>::normalize(input, &without_relu(with));
        let output = result
            .output
            .map(|output| <B as BurnKernels>::sum(output, addend, with.relu));
        Ok(Normalized { output, ..result })
    }

    fn normalize_by(
        input: Self::Tensor,
        with: &Normalization<Self::Tensor>,
        mean: Self::Tensor,
        variance: Self::Tensor,
        addend: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError> {
        let Some(addend) = addend else {
            return Ok(<B as BurnKernels>::normalize_by(
                input, with, mean, variance,
            ));
        };
        let plain = without_relu(with);
        let output = <B as BurnKernels>::normalize_by(input, &plain, mean, variance);
        Ok(<B as BurnKernels>::sum(output, addend, with.relu))
    }

    fn normalize_backward(
        tape: NormalizationTape<Self::Tensor>,
        with: &Normalization<Self::Tensor>,
        output_grad: Self::Tensor,
    ) -> Result<NormalizationGrads<Self::Tensor>, EngineError> {
        let NormalizationTape {
            input,
            added,
            mut result,
            ..
        } = tape;
        if !added {
            return Ok(<B as BurnKernels>::normalize_backward(
                input,
                result,
                with,
                output_grad,
            ));
        }
        let grad = match result.output.take() {
            Some(output) if with.relu => <B as BurnKernels>::relu_backward(output, output_grad),
            _ => output_grad,
        };
        let plain = without_relu(with);
        let grads = <B as BurnKernels>::normalize_backward(input, result, &plain, grad.clone());
        Ok(NormalizationGrads {
            addend: Some(grad),
            ..grads
        })
    }

    fn keeps_output(with: &Normalization<Self::Tensor>, added: bool) -> bool {
        if added {
            with.relu
        } else {
            B::normalize_backward_reads_output(with)
        }
    }

    fn relu(input: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::relu(input))
    }

    fn relu_backward(
        output: Self::Tensor,
        output_grad: Self::Tensor,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::relu_backward(output, output_grad))
    }

    fn sum(a: Self::Tensor, b: Self::Tensor, relu: bool) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::sum(a, b, relu))
    }

    fn multiply(a: Self::Tensor, b: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        Ok(B::float_mul(a, b))
    }

    fn subsample(input: Self::Tensor, geometry: Subsample) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::subsample(input, geometry))
    }

    fn subsample_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::subsample_backward(
            output_grad,
            shape,
            geometry,
        ))
    }

    fn max_pool(
        input: Self::Tensor,
        window: Window,
    ) -> Result<(Self::Tensor, Self::Indices), EngineError> {
        let indices = get_or_init_device_settings::<B>(&input.device()).int_dtype;
        let found = B::max_pool2d_with_indices(
            input,
            [window.kernel; 2],
            [window.stride; 2],
            [window.padding; 2],
            [1, 1],
            false,
            indices,
        );
        Ok((found.output, found.indices))
    }

    fn max_pool_backward(
        input: Self::Tensor,
        indices: Self::Indices,
        output_grad: Self::Tensor,
        window: Window,
    ) -> Result<Self::Tensor, EngineError> {
        let grads = B::max_pool2d_with_indices_backward(
            input,
            [window.kernel; 2],
            [window.stride; 2],
            [window.padding; 2],
            [1, 1],
            false,
            output_grad,
            indices,
        );
        Ok(grads.x_grad)
    }

    fn global_average(input: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        Ok(B::adaptive_avg_pool2d(input, [1, 1]))
    }

    fn global_average_backward(
        output_grad: Self::Tensor,
        shape: [usize; 4],
    ) -> Result<Self::Tensor, EngineError> {
        // Burn reads nothing of the input but its shape.
        let (device, dtype) = (output_grad.device(), output_grad.dtype());
        let input = B::float_zeros(shape.into(), &device, dtype.into());
        Ok(B::adaptive_avg_pool2d_backward(input, output_grad))
    }

    fn reshape(tensor: Self::Tensor, shape: &[usize]) -> Result<Self::Tensor, EngineError> {
        Ok(B::float_reshape(tensor, Shape::from(shape.to_vec())))
    }

    fn linear(
        input: Self::Tensor,
        weight: Self::Tensor,
        bias: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EngineError> {
        let output = B::float_matmul(input, B::float_transpose(weight));
        let Some(bias) = bias else { return Ok(output) };
        let outputs = bias.shape()[0];
        let row = B::float_reshape(bias, Shape::new([1, outputs]));
        Ok(B::float_add(output, row))
    }

    fn linear_backward(
        input: Self::Tensor,
        weight: Self::Tensor,
        output_grad: Self::Tensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<Self::Tensor>, EngineError> {
        let bias = wants.bias.then(|| {
            let sum = B::float_sum_dim(output_grad.clone(), 0);
            let outputs = sum.shape()[1];
            B::float_reshape(sum, Shape::new([outputs]))
        });
        let transposed = B::float_transpose(output_grad.clone());
        Ok(ProductGrads {
            weight: B::float_matmul(transposed, input),
            bias,
            input: wants.input.then(|| B::float_matmul(output_grad, weight)),
        })
    }

    fn accumulate(sum: Self::Tensor, gradient: Self::Tensor) -> Result<Self::Tensor, EngineError> {
        Ok(B::float_add(sum, gradient))
    }

    fn blend(
        a: Self::Tensor,
        keep: f64,
        b: Self::Tensor,
        gain: f64,
    ) -> Result<Self::Tensor, EngineError> {
        Ok(<B as BurnKernels>::blend(a, keep, b, gain))
    }

    fn square_sum(tensors: &[&Self::Tensor]) -> Result<f64, EngineError> {
        let mut squares = 0.0;
        for &tensor in tensors {
            // Summing in f64 keeps the norm independent of how the stage's parameters are shaped.
            let tensor = B::float_cast(tensor.clone(), FloatDType::F64);
            squares += to_scalar::<B>(B::float_sum(B::float_mul(tensor.clone(), tensor)))?;
        }
        Ok(squares)
    }

    fn scale(tensor: Self::Tensor, factor: f64) -> Result<Self::Tensor, EngineError> {
        Ok(B::float_mul_scalar(tensor, factor.into()))
    }

    fn step(
        optimizer: &Optimizer,
        number: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, Self::Tensor>>,
    ) -> Result<(), EngineError> {
        for each in parameters {
            let old = each.weight.clone();
            *each.weight = step::<B>(
                optimizer,
                old,
                each.gradient,
                each.slots,
                number,
                learning_rate,
            );
        }
        Ok(())
    }
}

fn without_relu<T: Clone>(with: &Normalization<T>) -> Normalization<T> {
    Normalization {
        relu: false,
        ..with.clone()
    }
}

fn format(precision: Precision) -> Result<FloatDType, EngineError> {
    match precision {
        Precision::F32 => Ok(FloatDType::F32),
        Precision::F64 => Ok(FloatDType::F64),
        found => Err(EngineError::Precision {
            engine: "burn",
            found,
            expected: "f32",
        }),
    }
}
