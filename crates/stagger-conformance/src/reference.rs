//! Kernels by their definitions, in `f64`, one value at a time: what fast kernels are compared with.

mod convolution;
mod windows;

use std::sync::Arc;

use stagger_engine::layered::{
    Convolution, Kernels, Normalization, NormalizationGrads, NormalizationTape, Normalized,
    ParameterStep, ProductGrads, ProductWants, Subsample, Window,
};
use stagger_engine::{EngineError, HostTensor, Optimizer, Precision, StepOf};

use crate::DoublePrecision;

type Result<T> = std::result::Result<T, EngineError>;

/// The kernels, on tensors of `f64`.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

/// A tensor of `f64`, row-major.
#[derive(Clone, Debug)]
pub struct ReferenceTensor {
    shape: Vec<usize>,
    values: Arc<Vec<f64>>,
}

impl ReferenceTensor {
    fn new(values: Vec<f64>, shape: &[usize]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        Self {
            shape: shape.to_vec(),
            values: Arc::new(values),
        }
    }

    /// The four sides of an image batch.
    fn sides(&self) -> [usize; 4] {
        let found = &self.shape;
        found
            .as_slice()
            .try_into()
            .unwrap_or_else(|_| panic!("an image batch has four sides, not {found:?}"))
    }

    /// Each value from the value there and its channel.
    fn by_channel(&self, change: impl Fn(f64, usize) -> f64) -> Self {
        let [_, channels, height, width] = self.sides();
        let pixels = height * width;
        let values = self.values.iter().enumerate();
        let values = values.map(|(at, &value)| change(value, at / pixels % channels));
        Self::new(values.collect(), &self.shape)
    }

    /// `Σ values` of each channel.
    fn channel_sums(&self) -> Vec<f64> {
        let [_, channels, height, width] = self.sides();
        let mut sums = vec![0.0; channels];
        for (at, value) in self.values.iter().enumerate() {
            sums[at / (height * width) % channels] += value;
        }
        sums
    }

    /// Each value from those at the same place in both.
    fn with(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape);
        let each = self.values.iter().zip(other.values.iter());
        Self::new(each.map(|(&a, &b)| combine(a, b)).collect(), &self.shape)
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(
            self.values.iter().map(|&value| change(value)).collect(),
            &self.shape,
        )
    }
}

impl DoublePrecision for Reference {
    fn tensor(values: &[f64], shape: &[usize]) -> ReferenceTensor {
        ReferenceTensor::new(values.to_vec(), shape)
    }

    fn values(tensor: &ReferenceTensor) -> Vec<f64> {
        tensor.values.to_vec()
    }
}

fn relu(value: f64) -> f64 {
    if value < 0.0 { 0.0 } else { value }
}

/// `(x − mean)·γ/√(variance + ε) + β + addend`, cut off at 0 where a ReLU follows.
fn apply(
    input: &ReferenceTensor,
    with: &Normalization<ReferenceTensor>,
    mean: &[f64],
    variance: &[f64],
    addend: Option<&ReferenceTensor>,
) -> ReferenceTensor {
    let (scale, shift) = (&with.scale.values, &with.shift.values);
    let output = input.by_channel(|value, channel| {
        let spread = (variance[channel] + with.epsilon).sqrt();
        (value - mean[channel]) * scale[channel] / spread + shift[channel]
    });
    let output = match addend {
        Some(addend) => output.with(addend, |a, b| a + b),
        None => output,
    };
    if with.relu { output.map(relu) } else { output }
}

/// Calls `pair` with each place of the output and the place of the input that is kept there.
fn kept_places(shape: [usize; 4], geometry: Subsample, mut pair: impl FnMut(usize, usize)) {
    let [samples, channels, height, width] = shape;
    let Subsample { stride, padding } = geometry;
    let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
    let out_channels = channels + 2 * padding;
    for sample in 0..samples {
        for channel in 0..channels {
            for row in 0..out_height {
                for column in 0..out_width {
                    let output = sample * out_channels + channel + padding;
                    let output = (output * out_height + row) * out_width + column;
                    let input = (sample * channels + channel) * height + row * stride;
                    pair(output, input * width + column * stride);
                }
            }
        }
    }
}

impl Kernels for Reference {
    type Tensor = ReferenceTensor;
    type Device = ();
    type Indices = Vec<usize>;

    const ENGINE: &'static str = "reference";

    fn prepare((): &(), precision: Precision) -> Result<()> {
        match precision {
            Precision::F64 => Ok(()),
            found => Err(EngineError::Precision {
                engine: Self::ENGINE,
                found,
                expected: "f64",
            }),
        }
    }

    fn upload(host: HostTensor, _: Precision, (): &()) -> Result<ReferenceTensor> {
        let values = host.data.iter().map(|&value| value.into()).collect();
        Ok(ReferenceTensor::new(values, &host.shape))
    }

    fn download(tensor: &ReferenceTensor) -> Result<HostTensor> {
        let data = tensor.values.iter().map(|&value| value as f32).collect();
        HostTensor::new(tensor.shape.clone(), data)
    }

    fn filled(shape: &[usize], value: f64, _: Precision, (): &()) -> Result<ReferenceTensor> {
        Ok(ReferenceTensor::new(
            vec![value; shape.iter().product()],
            shape,
        ))
    }

    fn cast(tensor: &ReferenceTensor, _: Precision) -> Result<ReferenceTensor> {
        Ok(tensor.clone())
    }

    fn shape(tensor: &ReferenceTensor) -> Vec<usize> {
        tensor.shape.clone()
    }

    fn size_bytes(tensor: &ReferenceTensor) -> usize {
        size_of_val(tensor.values.as_slice())
    }

    fn convolution(
        input: ReferenceTensor,
        weight: ReferenceTensor,
        bias: Option<ReferenceTensor>,
        geometry: Convolution,
    ) -> Result<ReferenceTensor> {
        Ok(convolution::forward(
            &input,
            &weight,
            bias.as_ref(),
            geometry,
        ))
    }

    fn convolution_backward(
        input: ReferenceTensor,
        weight: ReferenceTensor,
        output_grad: ReferenceTensor,
        geometry: Convolution,
        wants: ProductWants,
    ) -> Result<ProductGrads<ReferenceTensor>> {
        Ok(convolution::backward(
            &input,
            &weight,
            &output_grad,
            geometry,
            wants,
        ))
    }

    fn normalize(
        input: ReferenceTensor,
        with: &Normalization<ReferenceTensor>,
        addend: Option<ReferenceTensor>,
        wants_output: bool,
    ) -> Result<Normalized<ReferenceTensor>> {
        let channels = with.scale.values.len();
        let count = (input.values.len() / channels) as f64;
        let mean: Vec<f64> = input.channel_sums().iter().map(|sum| sum / count).collect();
        let squares = input.by_channel(|value, channel| (value - mean[channel]).powi(2));
        let variance: Vec<f64> = squares
            .channel_sums()
            .iter()
            .map(|sum| sum / count)
            .collect();
        let output = wants_output.then(|| apply(&input, with, &mean, &variance, addend.as_ref()));
        Ok(Normalized {
            output,
            mean: ReferenceTensor::new(mean, &[channels]),
            variance: ReferenceTensor::new(variance, &[channels]),
        })
    }

    fn normalize_by(
        input: ReferenceTensor,
        with: &Normalization<ReferenceTensor>,
        mean: ReferenceTensor,
        variance: ReferenceTensor,
        addend: Option<ReferenceTensor>,
    ) -> Result<ReferenceTensor> {
        Ok(apply(
            &input,
            with,
            &mean.values,
            &variance.values,
            addend.as_ref(),
        ))
    }

    fn normalize_backward(
        tape: NormalizationTape<ReferenceTensor>,
        with: &Normalization<ReferenceTensor>,
        output_grad: ReferenceTensor,
    ) -> Result<NormalizationGrads<ReferenceTensor>> {
        let (input, variance) = (tape.input, tape.result.variance);
        let grad = match tape.result.output {
            Some(output) if with.relu => {
                output.with(
                    &output_grad,
                    |output, grad| if output > 0.0 { grad } else { 0.0 },
                )
            }
            _ => output_grad,
        };
        let mean = &tape.result.mean.values;
        let spread = |channel: usize| (variance.values[channel] + with.epsilon).sqrt();
        let normal = input.by_channel(|value, channel| (value - mean[channel]) / spread(channel));
        let shift = grad.channel_sums();
        let scale = grad
            .with(&normal, |grad, normal| grad * normal)
            .channel_sums();
        let count = (input.values.len() / shift.len()) as f64;
        // γ/√(variance + ε) · (g − mean(g) − x̂·mean(g·x̂))
        let slope = normal
            .by_channel(|normal, channel| shift[channel] / count + normal * scale[channel] / count);
        let centred = grad.with(&slope, |grad, slope| grad - slope);
        let input_grad = centred
            .by_channel(|value, channel| value * with.scale.values[channel] / spread(channel));
        let channels = [shift.len()];
        Ok(NormalizationGrads {
            input: input_grad,
            scale: ReferenceTensor::new(scale, &channels),
            shift: ReferenceTensor::new(shift, &channels),
            addend: tape.added.then_some(grad),
        })
    }

    fn keeps_output(with: &Normalization<ReferenceTensor>, _: bool) -> bool {
        with.relu
    }

    fn relu(input: ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(input.map(relu))
    }

    fn relu_backward(
        output: ReferenceTensor,
        output_grad: ReferenceTensor,
    ) -> Result<ReferenceTensor> {
        Ok(output.with(
            &output_grad,
            |output, grad| if output > 0.0 { grad } else { 0.0 },
        ))
    }

    fn relu6(input: ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(input.map(|value| relu(if value > 6.0 { 6.0 } else { value })))
    }

    fn relu6_backward(
        output: ReferenceTensor,
        output_grad: ReferenceTensor,
    ) -> Result<ReferenceTensor> {
        let is_between = |output: f64| output > 0.0 && output < 6.0;
        Ok(output.with(
            &output_grad,
            |output, grad| {
                if is_between(output) { grad } else { 0.0 }
            },
        ))
    }

    fn sum(a: ReferenceTensor, b: ReferenceTensor, cut: bool) -> Result<ReferenceTensor> {
        Ok(a.with(&b, |a, b| if cut { relu(a + b) } else { a + b }))
    }

    fn multiply(a: ReferenceTensor, b: ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(a.with(&b, |a, b| a * b))
    }

    fn subsample(input: ReferenceTensor, geometry: Subsample) -> Result<ReferenceTensor> {
        let [samples, channels, height, width] = input.sides();
        let Subsample { stride, padding } = geometry;
        let shape = [
            samples,
            channels + 2 * padding,
            height.div_ceil(stride),
            width.div_ceil(stride),
        ];
        let mut output = vec![0.0; shape.iter().product()];
        kept_places(input.sides(), geometry, |to, from| {
            output[to] = input.values[from]
        });
        Ok(ReferenceTensor::new(output, &shape))
    }

    fn subsample_backward(
        output_grad: ReferenceTensor,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> Result<ReferenceTensor> {
        let mut input_grad = vec![0.0; shape.iter().product()];
        kept_places(shape, geometry, |from, to| {
            input_grad[to] = output_grad.values[from]
        });
        Ok(ReferenceTensor::new(input_grad, &shape))
    }

    fn max_pool(input: ReferenceTensor, window: Window) -> Result<(ReferenceTensor, Vec<usize>)> {
        Ok(windows::maxima(&input, window))
    }

    fn max_pool_backward(
        input: ReferenceTensor,
        places: Vec<usize>,
        output_grad: ReferenceTensor,
        _: Window,
    ) -> Result<ReferenceTensor> {
        let mut input_grad = vec![0.0; input.values.len()];
        for (place, grad) in places.into_iter().zip(output_grad.values.iter()) {
            input_grad[place] += grad;
        }
        Ok(ReferenceTensor::new(input_grad, &input.shape))
    }

    fn average_pool(input: ReferenceTensor, window: Window) -> Result<ReferenceTensor> {
        let [samples, channels, height, width] = input.sides();
        let side = |side: usize| (side + 2 * window.padding - window.kernel) / window.stride + 1;
        let shape = [samples, channels, side(height), side(width)];
        let mut output = vec![0.0; shape.iter().product()];
        windows::pairs(input.sides(), shape, window, |from, to| {
            output[to] += input.values[from] / (window.kernel * window.kernel) as f64;
        });
        Ok(ReferenceTensor::new(output, &shape))
    }

    fn average_pool_backward(
        output_grad: ReferenceTensor,
        shape: [usize; 4],
        window: Window,
    ) -> Result<ReferenceTensor> {
        let mut input_grad = vec![0.0; shape.iter().product()];
        windows::pairs(shape, output_grad.sides(), window, |to, from| {
            input_grad[to] += output_grad.values[from] / (window.kernel * window.kernel) as f64;
        });
        Ok(ReferenceTensor::new(input_grad, &shape))
    }

    fn concat(a: ReferenceTensor, b: ReferenceTensor) -> Result<ReferenceTensor> {
        let ([samples, before, height, width], [_, behind, ..]) = (a.sides(), b.sides());
        let mut values = Vec::with_capacity(a.values.len() + b.values.len());
        let image = height * width;
        let images = a.values.chunks_exact(before * image);
        for (a, b) in images.zip(b.values.chunks_exact(behind * image)) {
            values.extend(a.iter().chain(b));
        }
        let shape = [samples, before + behind, height, width];
        Ok(ReferenceTensor::new(values, &shape))
    }

    fn channel_run(tensor: ReferenceTensor, first: usize, len: usize) -> Result<ReferenceTensor> {
        let [samples, channels, height, width] = tensor.sides();
        let image = height * width;
        let images = tensor.values.chunks_exact(channels * image);
        let values = images.flat_map(|pixels| &pixels[first * image..(first + len) * image]);
        let shape = [samples, len, height, width];
        Ok(ReferenceTensor::new(values.copied().collect(), &shape))
    }

    fn global_average(input: ReferenceTensor) -> Result<ReferenceTensor> {
        let [samples, channels, height, width] = input.sides();
        let images = input.values.chunks_exact(height * width);
        let means = images.map(|image| image.iter().sum::<f64>() / image.len() as f64);
        Ok(ReferenceTensor::new(
            means.collect(),
            &[samples, channels, 1, 1],
        ))
    }

    fn global_average_backward(
        output_grad: ReferenceTensor,
        shape: [usize; 4],
    ) -> Result<ReferenceTensor> {
        let pixels = shape[2] * shape[3];
        let shares = output_grad
            .values
            .iter()
            .flat_map(|grad| std::iter::repeat_n(grad / pixels as f64, pixels));
        Ok(ReferenceTensor::new(shares.collect(), &shape))
    }

    fn reshape(tensor: ReferenceTensor, shape: &[usize]) -> Result<ReferenceTensor> {
        Ok(ReferenceTensor::new(tensor.values.to_vec(), shape))
    }

    fn linear(
        input: ReferenceTensor,
        weight: ReferenceTensor,
        bias: Option<ReferenceTensor>,
    ) -> Result<ReferenceTensor> {
        let (samples, inputs, outputs) = (input.shape[0], input.shape[1], weight.shape[0]);
        let mut output = Vec::with_capacity(samples * outputs);
        for row in input.values.chunks_exact(inputs) {
            for (at, weights) in weight.values.chunks_exact(inputs).enumerate() {
                let product = row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
                output.push(product + bias.as_ref().map_or(0.0, |bias| bias.values[at]));
            }
        }
        Ok(ReferenceTensor::new(output, &[samples, outputs]))
    }

    fn linear_backward(
        input: ReferenceTensor,
        weight: ReferenceTensor,
        output_grad: ReferenceTensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<ReferenceTensor>> {
        let (inputs, outputs) = (input.shape[1], weight.shape[0]);
        let mut weight_grad = vec![0.0; outputs * inputs];
        let mut input_grad = vec![0.0; input.values.len()];
        let mut bias = vec![0.0; outputs];
        for (sample, grads) in output_grad.values.chunks_exact(outputs).enumerate() {
            for (output, grad) in grads.iter().enumerate() {
                bias[output] += grad;
                for at in 0..inputs {
                    weight_grad[output * inputs + at] += grad * input.values[sample * inputs + at];
                    input_grad[sample * inputs + at] += grad * weight.values[output * inputs + at];
                }
            }
        }
        Ok(ProductGrads {
            input: wants
                .input
                .then(|| ReferenceTensor::new(input_grad, &input.shape)),
            weight: wants
                .weight
                .then(|| ReferenceTensor::new(weight_grad, &weight.shape)),
            bias: wants.bias.then(|| ReferenceTensor::new(bias, &[outputs])),
        })
    }

    fn accumulate(sum: ReferenceTensor, gradient: ReferenceTensor) -> Result<ReferenceTensor> {
        Ok(sum.with(&gradient, |a, b| a + b))
    }

    fn blend(
        a: ReferenceTensor,
        keep: f64,
        b: ReferenceTensor,
        gain: f64,
    ) -> Result<ReferenceTensor> {
        Ok(a.with(&b, |a, b| keep * a + gain * b))
    }

    fn square_sum(tensors: &[&ReferenceTensor]) -> Result<f64> {
        Ok(tensors
            .iter()
            .flat_map(|tensor| tensor.values.iter())
            .map(|value| value * value)
            .sum())
    }

    fn scale(tensor: ReferenceTensor, factor: f64) -> Result<ReferenceTensor> {
        Ok(tensor.map(|value| factor * value))
    }

    fn step(
        optimizer: &Optimizer,
        number: u64,
        learning_rate: f64,
        parameters: Vec<ParameterStep<'_, ReferenceTensor>>,
    ) -> Result<()> {
        for each in parameters {
            let dimensions = each.weight.shape.len();
            let norms = [&*each.weight, &each.gradient].map(|tensor| {
                let squares = tensor.values.iter().map(|value| value * value);
                squares.sum::<f64>().sqrt()
            });
            let of = StepOf {
                number,
                learning_rate,
                dimensions,
                trust_ratio: optimizer.trust_ratio(norms[0], norms[1], dimensions),
            };
            for (at, &gradient) in each.gradient.values.iter().enumerate() {
                let mut state = [0.0; 2];
                for (state, slot) in state.iter_mut().zip(&*each.slots) {
                    *state = slot.values[at];
                }
                let weight = &mut Arc::make_mut(&mut each.weight.values)[at];
                optimizer.reference_step(weight, gradient, &mut state, of);
                for (slot, state) in each.slots.iter_mut().zip(state) {
                    Arc::make_mut(&mut slot.values)[at] = state;
                }
            }
        }
        Ok(())
    }
}
