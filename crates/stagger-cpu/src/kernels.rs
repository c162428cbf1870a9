//! The kernels that layers call.

use stagger_engine::layered::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};
use stagger_engine::{EngineError, HostTensor, Optimizer, Precision};

use crate::channels_last::{average_pool, average_pool_backward};
use crate::fused_step::{Parameter, fused_step};
use crate::tensor::images;
use crate::threads::Threads;
use crate::{
    Cpu, CpuDevice, CpuTensor, Maxima, batch_norm, buffers, concat, convolution, elementwise,
    linear, max_pool, subsample, threads, window_average,
};

type Result<T> = std::result::Result<T, EngineError>;

impl Kernels for Cpu {
    type Tensor = CpuTensor;
    type Device = CpuDevice;
    type Indices = Maxima;

    const ENGINE: &'static str = "cpu";

    fn prepare(device: &CpuDevice, precision: Precision) -> Result<()> {
        only_f32(precision)?;
        threads::set(device.threads)
    }

    fn settle() {
        buffers::settle();
    }

    fn upload(host: HostTensor, precision: Precision, _: &CpuDevice) -> Result<CpuTensor> {
        only_f32(precision)?;
        host.check()?;
        Ok(CpuTensor::row_major(host.data, &host.shape))
    }

    fn download(tensor: &CpuTensor) -> Result<HostTensor> {
        Ok(tensor.to_host())
    }

    fn filled(
        shape: &[usize],
        value: f64,
        precision: Precision,
        _: &CpuDevice,
    ) -> Result<CpuTensor> {
        only_f32(precision)?;
        let values = vec![value as f32; shape.iter().product()];
        Ok(CpuTensor::row_major(values, shape))
    }

    fn cast(tensor: &CpuTensor, precision: Precision) -> Result<CpuTensor> {
        only_f32(precision)?;
        Ok(tensor.clone())
    }

    fn shape(tensor: &CpuTensor) -> Vec<usize> {
        tensor.shape().to_vec()
    }

    fn size_bytes(tensor: &CpuTensor) -> usize {
        size_of_val(tensor.values())
    }

    fn convolution(
        input: CpuTensor,
        weight: CpuTensor,
        bias: Option<CpuTensor>,
        geometry: Convolution,
    ) -> Result<CpuTensor> {
        Ok(convolution::forward(input, weight, bias, geometry))
    }

    fn convolution_backward(
        input: CpuTensor,
        weight: CpuTensor,
        output_grad: CpuTensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<CpuTensor>> {
        Ok(convolution::backward(
            input,
            weight,
            output_grad,
            geometry,
            wants,
        ))
    }

    fn normalize(
        input: CpuTensor,
        with: &Normalization<CpuTensor>,
        addend: Option<CpuTensor>,
        wants_output: bool,
    ) -> Result<Normalized<CpuTensor>> {
        Ok(batch_norm::normalize(input, with, addend, wants_output))
    }

    fn normalize_by(
        input: CpuTensor,
        with: &Normalization<CpuTensor>,
        mean: CpuTensor,
        variance: CpuTensor,
        addend: Option<CpuTensor>,
    ) -> Result<CpuTensor> {
        let (mean, variance) = (&mean, &variance);
        Ok(batch_norm::normalize_by(
            input, with, mean, variance, addend,
        ))
    }

    fn normalize_backward(
        tape: NormalizationTape<CpuTensor>,
        with: &Normalization<CpuTensor>,
        output_grad: CpuTensor,
    ) -> Result<NormalizationGrads<CpuTensor>> {
        Ok(batch_norm::normalize_backward(tape, with, output_grad))
    }

    fn keeps_output(_: &Normalization<CpuTensor>, _: bool) -> bool {
        false
    }

    fn relu(input: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::relu(input))
    }

    fn relu_backward(output: CpuTensor, output_grad: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::relu_backward(output, output_grad))
    }

    fn relu6(input: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::relu6(input))
    }

    fn relu6_backward(output: CpuTensor, output_grad: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::relu6_backward(output, output_grad))
    }

    fn sum(a: CpuTensor, b: CpuTensor, relu: bool) -> Result<CpuTensor> {
        Ok(elementwise::sum(a, b, relu))
    }

    fn multiply(a: CpuTensor, b: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::multiply(a, b))
    }

    fn subsample(input: CpuTensor, geometry: Subsample) -> Result<CpuTensor> {
        Ok(subsample::subsample(input, geometry))
    }

    fn subsample_backward(
        output_grad: CpuTensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<CpuTensor> {
        Ok(subsample::subsample_backward(output_grad, shape, geometry))
    }

    fn max_pool(input: CpuTensor, window: Window) -> Result<(CpuTensor, Maxima)> {
        Ok(max_pool::max_pool(input, window))
    }

    fn max_pool_backward(
        input: CpuTensor,
        maxima: Maxima,
        output_grad: CpuTensor,
        _: Window,
    ) -> Result<CpuTensor> {
        let sides = input.sides();
        drop(input);
        Ok(max_pool::max_pool_backward(sides, &maxima, output_grad))
    }

    fn average_pool(input: CpuTensor, window: Window) -> Result<CpuTensor> {
        Ok(window_average::average_pool(input, window))
    }

    fn average_pool_backward(
        output_grad: CpuTensor,
        shape: [usize; 4],
        window: Window,
    ) -> Result<CpuTensor> {
        Ok(window_average::average_pool_backward(
            output_grad,
            shape,
            window,
        ))
    }

    fn concat(a: CpuTensor, b: CpuTensor) -> Result<CpuTensor> {
        Ok(concat::concat(a, b))
    }

    fn channel_run(tensor: CpuTensor, first: usize, len: usize) -> Result<CpuTensor> {
        Ok(concat::channel_run(tensor, first, len))
    }

    fn global_average(input: CpuTensor) -> Result<CpuTensor> {
        let input = input.into_channels_last();
        let [samples, channels, ..] = input.sides();
        let mut output = buffers::take(samples * channels);
        average_pool(input.values(), images(input.sides()), &mut output, &Threads);
        Ok(CpuTensor::channels_last(output, [samples, channels, 1, 1]))
    }

    fn global_average_backward(output_grad: CpuTensor, shape: [usize; 4]) -> Result<CpuTensor> {
        let output_grad = output_grad.into_channels_last();
        let mut input_grad = buffers::take(shape.iter().product());
        let grads = output_grad.values();
        average_pool_backward(grads, images(shape), &mut input_grad, &Threads);
        Ok(CpuTensor::channels_last(input_grad, shape))
    }

    fn reshape(tensor: CpuTensor, shape: &[usize]) -> Result<CpuTensor> {
        Ok(tensor.reshape(shape))
    }

    fn linear(input: CpuTensor, weight: CpuTensor, bias: Option<CpuTensor>) -> Result<CpuTensor> {
        Ok(linear::forward(input, weight, bias))
    }

    fn linear_backward(
        input: CpuTensor,
        weight: CpuTensor,
        output_grad: CpuTensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<CpuTensor>> {
        Ok(linear::backward(input, weight, output_grad, wants))
    }

    fn accumulate(sum: CpuTensor, gradient: CpuTensor) -> Result<CpuTensor> {
        Ok(elementwise::sum(sum, gradient, false))
    }

    fn blend(a: CpuTensor, keep: f64, b: CpuTensor, gain: f64) -> Result<CpuTensor> {
        Ok(elementwise::blend(a, keep, b, gain))
    }

    fn square_sum(tensors: &[&CpuTensor]) -> Result<f64> {
        Ok(tensors
            .iter()
            .map(|each| elementwise::square_sum(each))
            .sum())
    }

    fn scale(tensor: CpuTensor, factor: f64) -> Result<CpuTensor> {
        Ok(elementwise::scale(tensor, factor))
    }

    fn step(
        optimizer: &Optimizer,
        number: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, CpuTensor>>,
    ) -> Result<()> {
        for each in parameters {
            let gradient = each.gradient.into_row_major();
            let parameter = Parameter {
                dimensions: each.weight.shape().len(),
                weights: each.weight.values_mut(),
                gradients: gradient.values(),
                slots: each.slots.iter_mut().map(CpuTensor::values_mut).collect(),
                shadow: None,
            };
            fused_step(optimizer, parameter, number, learning_rate, &Threads);
        }
        Ok(())
    }
}

fn only_f32(precision: Precision) -> Result<()> {
    match precision {
        Precision::F32 => Ok(()),
        found => Err(EngineError::Precision {
            engine: Cpu::ENGINE,
            found,
            expected: "f32",
        }),
    }
}
