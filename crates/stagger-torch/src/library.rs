//! Layers composed of libtorch's own operations: on GPUs, and in 64 bits.

use tch::{Kind, Tensor};

use crate::failure::OrFailure;
use stagger_engine::EngineError;
use stagger_engine::layered::{
    Convolution, Normalization, NormalizationGrads, NormalizationTape, Normalized, ProductGrads,
    ProductWants, Subsample, Window,
};

use super::TorchTensor;
use super::order::ordered;
use super::shim::{self, ConvolutionSides, ThreeWants};
use super::tensor::{integer, sides};

type Result<T> = std::result::Result<T, EngineError>;

pub(super) fn convolution(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<Tensor>,
    geometry: Convolution,
) -> Result<Tensor> {
    let stride = [integer(geometry.stride); 2];
    let padding = [integer(geometry.padding); 2];
    input
        .f_conv2d(
            weight,
            bias,
            stride,
            padding,
            [1, 1],
            integer(geometry.groups),
        )
        .or_failure()
}

pub(super) fn convolution_backward(
    input: &Tensor,
    weight: &Tensor,
    output_grad: &Tensor,
    geometry: Convolution,
    wants: ProductWants,
) -> Result<ProductGrads<TorchTensor>> {
    let stride = [integer(geometry.stride); 2];
    let padding = [integer(geometry.padding); 2];
    let wants = ThreeWants {
        input: wants.input,
        weight: wants.weight,
        bias: wants.bias,
    };
    let geometry = ConvolutionSides {
        stride,
        padding,
        groups: integer(geometry.groups),
    };
    let grads = shim::convolution_backward(output_grad, input, weight, geometry, wants)?;
    if wants.weight && grads.weight.is_none() {
        return Err(missing("the gradient of a weight"));
    }
    let weight_grad = grads.weight.map(ordered).transpose()?;
    Ok(ProductGrads {
        input: grads.input.map(TorchTensor::from),
        weight: weight_grad.map(TorchTensor::from),
        bias: grads.bias.map(TorchTensor::from),
    })
}

fn missing(what: &str) -> EngineError {
    EngineError::Backend {
        message: format!("libtorch left out {what}"),
    }
}

pub(super) fn normalize(
    input: &Tensor,
    with: &Normalization<TorchTensor>,
    addend: Option<TorchTensor>,
    wants_output: bool,
) -> Result<Normalized<TorchTensor>> {
    let (scale, shift) = (with.scale.as_tensor(), with.shift.as_tensor());
    // Wanted or not: other operations would give the statistics in other bits.
    let found = shim::batch_norm(input, Some(scale), Some(shift), None, 0.0, with.epsilon)?;
    let variance = found.inverse_std.f_pow_tensor_scalar(-2).or_failure()?;
    let variance = variance
        .f_add_scalar(-with.epsilon)
        .or_failure()?
        .f_clamp_min(0.0)
        .or_failure()?;
    let output = found.output;
    let output = wants_output.then(|| join(output, addend, with.relu));
    Ok(Normalized {
        output: output.transpose()?.map(TorchTensor::from),
        mean: found.mean.into(),
        variance: variance.into(),
    })
}

/// Adds the addend, then the ReLU.
fn join(output: Tensor, addend: Option<TorchTensor>, relu: bool) -> Result<Tensor> {
    let mut output = output;
    if let Some(addend) = addend {
        let _ = output.f_add_(addend.as_tensor()).or_failure()?;
    }
    if relu {
        let _ = output.f_relu_().or_failure()?;
    }
    Ok(output)
}

pub(super) fn normalize_by(
    input: &Tensor,
    with: &Normalization<TorchTensor>,
    mean: &Tensor,
    variance: &Tensor,
    addend: Option<TorchTensor>,
) -> Result<Tensor> {
    let output = input
        .f_batch_norm(
            Some(with.scale.as_tensor()),
            Some(with.shift.as_tensor()),
            Some(mean),
            Some(variance),
            false,
            0.0,
            with.epsilon,
            true,
        )
        .or_failure()?;
    join(output, addend, with.relu)
}

pub(super) fn normalize_backward(
    tape: &NormalizationTape<TorchTensor>,
    with: &Normalization<TorchTensor>,
    output_grad: Tensor,
) -> Result<NormalizationGrads<TorchTensor>> {
    let grad = match &tape.result.output {
        Some(output) if with.relu => output
            .as_tensor()
            .f_threshold_backward(&output_grad, 0)
            .or_failure()?,
        _ => output_grad,
    };
    let (mean, variance) = (
        tape.result.mean.as_tensor(),
        tape.result.variance.as_tensor(),
    );
    let inverse_std = variance
        .f_add_scalar(with.epsilon)
        .or_failure()?
        .f_rsqrt()
        .or_failure()?;
    let all = ThreeWants {
        input: true,
        weight: true,
        bias: true,
    };
    let grads = shim::batch_norm_backward(
        &grad,
        tape.input.as_tensor(),
        Some(with.scale.as_tensor()),
        mean,
        &inverse_std,
        with.epsilon,
        all,
    )?;
    let some = |tensor: Option<Tensor>| {
        tensor
            .map(TorchTensor::from)
            .ok_or_else(|| missing("a gradient of batch normalisation"))
    };
    Ok(NormalizationGrads {
        input: some(grads.input)?,
        scale: some(grads.weight)?,
        shift: some(grads.bias)?,
        addend: tape.added.then(|| grad.into()),
    })
}

pub(super) fn subsample(input: &Tensor, geometry: Subsample) -> Result<Tensor> {
    let stride = integer(geometry.stride);
    let pixels = input
        .f_slice(2, None, None, stride)
        .or_failure()?
        .f_slice(3, None, None, stride)
        .or_failure()?;
    let padding = integer(geometry.padding);
    ordered(
        pixels
            .f_constant_pad_nd([0, 0, 0, 0, padding, padding])
            .or_failure()?,
    )
}

pub(super) fn subsample_backward(
    output_grad: &Tensor,
    shape: [usize; 4],
    geometry: Subsample,
) -> Result<Tensor> {
    let options = (output_grad.kind(), output_grad.device());
    let grad = Tensor::f_zeros(sides(&shape), options).or_failure()?;
    let stride = integer(geometry.stride);
    let mut pixels = grad
        .f_slice(2, None, None, stride)
        .or_failure()?
        .f_slice(3, None, None, stride)
        .or_failure()?;
    let (from, channels) = (integer(geometry.padding), integer(shape[1]));
    pixels
        .f_copy_(&output_grad.f_narrow(1, from, channels).or_failure()?)
        .or_failure()?;
    ordered(grad)
}

pub(super) fn max_pool(input: &Tensor, window: Window) -> Result<(Tensor, Tensor)> {
    let [kernel, stride, padding] = window_sides(window);
    input
        .f_max_pool2d_with_indices(kernel, stride, padding, [1, 1], false)
        .or_failure()
}

pub(super) fn max_pool_backward(
    input: &Tensor,
    indices: &Tensor,
    output_grad: &Tensor,
    window: Window,
) -> Result<Tensor> {
    let [kernel, stride, padding] = window_sides(window);
    input
        .f_max_pool2d_with_indices_backward(
            output_grad,
            kernel,
            stride,
            padding,
            [1, 1],
            false,
            indices,
        )
        .or_failure()
}

pub(super) fn average_pool(input: &Tensor, window: Window) -> Result<Tensor> {
    let [kernel, stride, padding] = window_sides(window);
    let output = input.f_avg_pool2d(kernel, stride, padding, false, true, None);
    ordered(output.or_failure()?)
}

pub(super) fn average_pool_backward(
    output_grad: &Tensor,
    shape: [usize; 4],
    window: Window,
) -> Result<Tensor> {
    let [kernel, stride, padding] = window_sides(window);
    // Of the input, it takes the shape and the order alone.
    let like = (output_grad.kind(), output_grad.device());
    let input = shim::empty(&sides(&shape), like.0, like.1, true)?;
    let grad = input.f_avg_pool2d_backward(output_grad, kernel, stride, padding, false, true, None);
    ordered(grad.or_failure()?)
}

pub(super) fn concat(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    ordered(Tensor::f_cat(&[a, b], 1).or_failure()?)
}

pub(super) fn channel_run(tensor: &Tensor, first: usize, len: usize) -> Result<Tensor> {
    let run = tensor.f_narrow(1, integer(first), integer(len));
    ordered(run.or_failure()?)
}

fn window_sides(window: Window) -> [[i64; 2]; 3] {
    [window.kernel, window.stride, window.padding].map(|side| [integer(side); 2])
}

pub(super) fn global_average(input: &Tensor) -> Result<Tensor> {
    input
        .f_mean_dim([2_i64, 3].as_slice(), true, None::<Kind>)
        .or_failure()
}

pub(super) fn global_average_backward(output_grad: &Tensor, shape: [usize; 4]) -> Result<Tensor> {
    let [_, _, height, width] = shape;
    let share = output_grad
        .f_div_scalar(integer(height * width))
        .or_failure()?;
    ordered(share.f_expand(sides(&shape), false).or_failure()?)
}

pub(super) fn linear_backward(
    input: &Tensor,
    weight: &Tensor,
    output_grad: &Tensor,
    wants: ProductWants,
) -> Result<ProductGrads<TorchTensor>> {
    let bias = wants
        .bias
        .then(|| output_grad.f_sum_dim_intlist([0_i64].as_slice(), false, None::<Kind>));
    let input_grad = wants.input.then(|| output_grad.f_mm(weight));
    let weight_grad = wants
        .weight
        .then(|| output_grad.f_transpose(0, 1)?.f_mm(input));
    Ok(ProductGrads {
        input: input_grad.transpose().or_failure()?.map(TorchTensor::from),
        weight: weight_grad.transpose().or_failure()?.map(TorchTensor::from),
        bias: bias.transpose().or_failure()?.map(TorchTensor::from),
    })
}
