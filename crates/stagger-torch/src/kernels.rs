//! libtorch as kernels of layers.

use tch::{Kind, Tensor};

use crate::failure::OrFailure;
use stagger_engine::EngineError;
use stagger_engine::HostTensor;
use stagger_engine::Optimizer;
use stagger_engine::Precision;
use stagger_engine::layered::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};

use super::order::{is_direct, ordered};
use super::tensor::{kind, shape, sides};
use super::{Torch, TorchDevice, TorchTensor, direct, host, library, shim, step};

type Result<T> = std::result::Result<T, EngineError>;

impl Kernels for Torch {
    type Tensor = TorchTensor;
    type Device = TorchDevice;
    type Indices = TorchTensor;

    const ENGINE: &'static str = "torch";

    fn prepare(device: &TorchDevice, _: Precision) -> Result<()> {
        device.prepare()
    }

    fn upload(host: HostTensor, precision: Precision, device: &TorchDevice) -> Result<TorchTensor> {
        Ok(host::upload(&host, kind(precision), device.device())?.into())
    }

    fn download(tensor: &TorchTensor) -> Result<HostTensor> {
        let here = tensor.as_tensor().device();
        host::download(tensor.on(here)?.as_tensor())
    }

    fn filled(
        shape: &[usize],
        value: f64,
        precision: Precision,
        device: &TorchDevice,
    ) -> Result<TorchTensor> {
        let options = (kind(precision), device.device());
        Ok(ordered(Tensor::f_full(sides(shape), value, options).or_failure()?)?.into())
    }

    fn cast(tensor: &TorchTensor, precision: Precision) -> Result<TorchTensor> {
        Ok(host::to_kind(tensor.as_tensor().shallow_clone(), kind(precision))?.into())
    }

    fn shape(tensor: &TorchTensor) -> Vec<usize> {
        shape(tensor.as_tensor())
    }

    fn size_bytes(tensor: &TorchTensor) -> usize {
        let tensor = tensor.as_tensor();
        tensor.numel() * tensor.kind().elt_size_in_bytes()
    }

    fn hand_over(tensor: TorchTensor, _: &TorchDevice) -> Result<TorchTensor> {
        tensor.mark_ready()
    }

    fn take_over(tensor: &TorchTensor, device: &TorchDevice) -> Result<TorchTensor> {
        tensor.on(device.device())
    }

    fn convolution(
        input: TorchTensor,
        weight: TorchTensor,
        bias: Option<TorchTensor>,
        geometry: Convolution,
    ) -> Result<TorchTensor> {
        let input = ordered(input.into_tensor())?;
        let bias = bias.map(TorchTensor::into_tensor);
        Ok(library::convolution(&input, weight.as_tensor(), bias, geometry)?.into())
    }

    fn convolution_backward(
        input: TorchTensor,
        weight: TorchTensor,
        output_grad: TorchTensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<TorchTensor>> {
        let input = ordered(input.into_tensor())?;
        let grad = ordered(output_grad.into_tensor())?;
        library::convolution_backward(&input, weight.as_tensor(), &grad, geometry, wants)
    }

    fn normalize(
        input: TorchTensor,
        with: &Normalization<TorchTensor>,
        addend: Option<TorchTensor>,
        wants_output: bool,
    ) -> Result<Normalized<TorchTensor>> {
        let input = input.into_tensor();
        if is_direct(&input) {
            direct::normalize(input, with, addend, wants_output)
        } else {
            library::normalize(&input, with, addend, wants_output)
        }
    }

    fn normalize_by(
        input: TorchTensor,
        with: &Normalization<TorchTensor>,
        mean: TorchTensor,
        variance: TorchTensor,
        addend: Option<TorchTensor>,
    ) -> Result<TorchTensor> {
        let input = input.into_tensor();
        let (mean, variance) = (mean.as_tensor(), variance.as_tensor());
        let output = if is_direct(&input) {
            direct::normalize_by(input, with, mean, variance, addend)?
        } else {
            library::normalize_by(&input, with, mean, variance, addend)?
        };
        Ok(output.into())
    }

    fn normalize_backward(
        tape: NormalizationTape<TorchTensor>,
        with: &Normalization<TorchTensor>,
        output_grad: TorchTensor,
    ) -> Result<NormalizationGrads<TorchTensor>> {
        if is_direct(tape.input.as_tensor()) {
            direct::normalize_backward(tape, with, output_grad.into_tensor())
        } else {
            library::normalize_backward(&tape, with, output_grad.into_tensor())
        }
    }

    fn keeps_output(with: &Normalization<TorchTensor>, _added: bool) -> bool {
        with.relu && !is_direct(with.scale.as_tensor())
    }

    fn relu(input: TorchTensor) -> Result<TorchTensor> {
        let input = input.into_tensor();
        let output = if is_direct(&input) {
            direct::relu(input)?
        } else {
            input.f_relu().or_failure()?
        };
        Ok(output.into())
    }

    fn relu_backward(output: TorchTensor, output_grad: TorchTensor) -> Result<TorchTensor> {
        let (output, grad) = (output.into_tensor(), output_grad.into_tensor());
        let grad = if is_direct(&output) {
            direct::relu_backward(output, grad)?
        } else {
            output.f_threshold_backward(&grad, 0).or_failure()?
        };
        Ok(grad.into())
    }

    fn relu6(input: TorchTensor) -> Result<TorchTensor> {
        let input = input.into_tensor();
        let output = if is_direct(&input) {
            direct::relu6(input)?
        } else {
            input.f_clamp(0.0, 6.0).or_failure()?
        };
        Ok(output.into())
    }

    fn relu6_backward(output: TorchTensor, output_grad: TorchTensor) -> Result<TorchTensor> {
        let (output, grad) = (output.into_tensor(), output_grad.into_tensor());
        let grad = if is_direct(&output) {
            direct::relu6_backward(output, grad)?
        } else {
            output.f_hardtanh_backward(&grad, 0.0, 6.0).or_failure()?
        };
        Ok(grad.into())
    }

    fn sum(a: TorchTensor, b: TorchTensor, relu: bool) -> Result<TorchTensor> {
        let (a, b) = (a.into_tensor(), b.into_tensor());
        if is_direct(&a) {
            return Ok(direct::sum(a, b, relu)?.into());
        }
        let sum = a.f_add(&b).or_failure()?;
        let sum = if relu {
            sum.f_relu().or_failure()?
        } else {
            sum
        };
        Ok(sum.into())
    }

    fn multiply(a: TorchTensor, b: TorchTensor) -> Result<TorchTensor> {
        Ok(a.as_tensor().f_mul(b.as_tensor()).or_failure()?.into())
    }

    fn subsample(input: TorchTensor, geometry: Subsample) -> Result<TorchTensor> {
        let input = input.into_tensor();
        let output = if is_direct(&input) {
            direct::subsample(input, geometry)?
        } else {
            library::subsample(&input, geometry)?
        };
        Ok(output.into())
    }

    fn subsample_backward(
        output_grad: TorchTensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<TorchTensor> {
        let grad = output_grad.into_tensor();
        let input_grad = if is_direct(&grad) {
            direct::subsample_backward(grad, shape, geometry)?
        } else {
            library::subsample_backward(&grad, shape, geometry)?
        };
        Ok(input_grad.into())
    }

    fn max_pool(input: TorchTensor, window: Window) -> Result<(TorchTensor, TorchTensor)> {
        let input = ordered(input.into_tensor())?;
        let (output, indices) = library::max_pool(&input, window)?;
        Ok((output.into(), indices.into()))
    }

    fn max_pool_backward(
        input: TorchTensor,
        indices: TorchTensor,
        output_grad: TorchTensor,
        window: Window,
    ) -> Result<TorchTensor> {
        let input = ordered(input.into_tensor())?;
        let grad = ordered(output_grad.into_tensor())?;
        Ok(library::max_pool_backward(&input, indices.as_tensor(), &grad, window)?.into())
    }

    fn average_pool(input: TorchTensor, window: Window) -> Result<TorchTensor> {
        let input = ordered(input.into_tensor())?;
        Ok(library::average_pool(&input, window)?.into())
    }

    fn average_pool_backward(
        output_grad: TorchTensor,
        shape: [usize; 4],
        window: Window,
    ) -> Result<TorchTensor> {
        let grad = ordered(output_grad.into_tensor())?;
        Ok(library::average_pool_backward(&grad, shape, window)?.into())
    }

    fn concat(a: TorchTensor, b: TorchTensor) -> Result<TorchTensor> {
        let (a, b) = (a.into_tensor(), b.into_tensor());
        let output = if is_direct(&a) {
            direct::concat(a, b)?
        } else {
            library::concat(&a, &b)?
        };
        Ok(output.into())
    }

    fn channel_run(tensor: TorchTensor, first: usize, len: usize) -> Result<TorchTensor> {
        let tensor = tensor.into_tensor();
        let run = if is_direct(&tensor) {
            direct::channel_run(tensor, first, len)?
        } else {
            library::channel_run(&tensor, first, len)?
        };
        Ok(run.into())
    }

    fn global_average(input: TorchTensor) -> Result<TorchTensor> {
        let input = input.into_tensor();
        let output = if is_direct(&input) {
            direct::global_average(input)?
        } else {
            library::global_average(&input)?
        };
        Ok(output.into())
    }

    fn global_average_backward(output_grad: TorchTensor, shape: [usize; 4]) -> Result<TorchTensor> {
        let grad = output_grad.into_tensor();
        let input_grad = if is_direct(&grad) {
            direct::global_average_backward(grad, shape)?
        } else {
            library::global_average_backward(&grad, shape)?
        };
        Ok(input_grad.into())
    }

    fn reshape(tensor: TorchTensor, shape: &[usize]) -> Result<TorchTensor> {
        Ok(tensor
            .as_tensor()
            .f_reshape(sides(shape))
            .or_failure()?
            .into())
    }

    fn linear(
        input: TorchTensor,
        weight: TorchTensor,
        bias: Option<TorchTensor>,
    ) -> Result<TorchTensor> {
        let bias = bias.map(TorchTensor::into_tensor);
        let (input, weight) = (input.as_tensor(), weight.as_tensor());
        Ok(input.f_linear(weight, bias).or_failure()?.into())
    }

    fn linear_backward(
        input: TorchTensor,
        weight: TorchTensor,
        output_grad: TorchTensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<TorchTensor>> {
        let (input, weight) = (input.as_tensor(), weight.as_tensor());
        library::linear_backward(input, weight, output_grad.as_tensor(), wants)
    }

    fn accumulate(sum: TorchTensor, gradient: TorchTensor) -> Result<TorchTensor> {
        let (sum, gradient) = (sum.into_tensor(), gradient.into_tensor());
        // Sums of many small terms do not belong into 8 bits of mantissa.
        let wide = match sum.kind() {
            Kind::BFloat16 => Kind::Float,
            kind => kind,
        };
        let (sum, gradient) = (host::to_kind(sum, wide)?, host::to_kind(gradient, wide)?);
        if is_direct(&sum) {
            return Ok(direct::sum(sum, gradient, false)?.into());
        }
        Ok(sum.f_add(&gradient).or_failure()?.into())
    }

    fn blend(a: TorchTensor, keep: f64, b: TorchTensor, gain: f64) -> Result<TorchTensor> {
        let (a, b) = (a.into_tensor(), b.into_tensor());
        if is_direct(&a) {
            return Ok(direct::blend(a, keep, b, gain)?.into());
        }
        let kept = a.f_mul_scalar(keep).or_failure()?;
        Ok(kept
            .f_add(&b.f_mul_scalar(gain).or_failure()?)
            .or_failure()?
            .into())
    }

    fn square_sum(tensors: &[&TorchTensor]) -> Result<f64> {
        match stacked_square_sums(tensors)? {
            Some(sums) => {
                let total = sums.f_sum(Kind::Double).or_failure()?;
                total.f_double_value(&[]).or_failure()
            }
            None => Ok(0.0),
        }
    }

    fn square_sums(tensors: &[&TorchTensor]) -> Result<Vec<f64>> {
        match stacked_square_sums(tensors)? {
            Some(sums) => Vec::<f64>::try_from(&sums).or_failure(),
            None => Ok(Vec::new()),
        }
    }

    fn scale(tensor: TorchTensor, factor: f64) -> Result<TorchTensor> {
        let mut tensor = tensor.into_tensor();
        if shim::is_unique(&tensor) {
            return Ok(tensor.f_mul_scalar_(factor).or_failure()?.into());
        }
        Ok(tensor.f_mul_scalar(factor).or_failure()?.into())
    }

    fn step(
        optimizer: &Optimizer,
        number: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, TorchTensor>>,
    ) -> Result<()> {
        step::step(optimizer, number, learning_rate, parameters)
    }
}

/// The sum of squares of each tensor, in one tensor: so reading them waits for the device once. `None` for no tensors.
fn stacked_square_sums(tensors: &[&TorchTensor]) -> Result<Option<Tensor>> {
    let mut squares = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let wide = host::to_kind(tensor.as_tensor().shallow_clone(), Kind::Double)?;
        squares.push(
            wide.f_mul(&wide)
                .or_failure()?
                .f_sum(Kind::Double)
                .or_failure()?,
        );
    }
    match squares.is_empty() {
        true => Ok(None),
        false => Tensor::f_stack(&squares, 0).or_failure().map(Some),
    }
}
