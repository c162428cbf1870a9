//! Fully connected layers: convolutions of images of one pixel.

use stagger_engine::layered::{Convolution, ProductGrads, ProductWants};

use crate::CpuTensor;
use crate::correlate;
use crate::correlate_weight::weight_grad;
use crate::input_grad::input_grad;

const POINTWISE: Convolution = Convolution {
    stride: 1,
    padding: 0,
    groups: 1,
    winograd: false,
};

/// `x·Wᵀ + b` of `[N, I]` with `W` as `[O, I]`.
pub(crate) fn forward(input: CpuTensor, weight: CpuTensor, bias: Option<CpuTensor>) -> CpuTensor {
    let output = correlate::forward(&pixel(input), pixel(weight), None, POINTWISE);
    let mut output = flat(output);
    if let Some(bias) = bias {
        for row in output.values_mut().chunks_exact_mut(bias.values().len()) {
            for (value, bias) in row.iter_mut().zip(bias.values()) {
                *value += bias;
            }
        }
    }
    output
}

/// Gradients of [`forward`].
pub(crate) fn backward(
    input: CpuTensor,
    weight: CpuTensor,
    output_grad: CpuTensor,
    wants: ProductWants,
) -> ProductGrads<CpuTensor> {
    let (input, weight, output_grad) = (pixel(input), pixel(weight), pixel(output_grad));
    let weight_grad = wants
        .weight
        .then(|| weight_grad(&input, weight.sides(), &output_grad, POINTWISE));
    let bias = wants.bias.then(|| {
        let [_, outputs, ..] = output_grad.sides();
        let mut sums = vec![0.0; outputs];
        for grads in output_grad.values().chunks_exact(outputs) {
            for (sum, grad) in sums.iter_mut().zip(grads) {
                *sum += grad;
            }
        }
        CpuTensor::row_major(sums, &[outputs])
    });
    let sides = input.sides();
    let input_grad = wants
        .input
        .then(|| input_grad(sides, weight, &output_grad, POINTWISE));
    ProductGrads {
        weight: weight_grad.map(flat),
        bias,
        input: input_grad.map(flat),
    }
}

/// `[A, B]` as `[A, B, 1, 1]`, channels-last.
fn pixel(matrix: CpuTensor) -> CpuTensor {
    let [rows, columns, ..] = matrix.sides();
    matrix.reshape(&[rows, columns, 1, 1]).into_channels_last()
}

/// `[A, B, 1, 1]` as `[A, B]`.
fn flat(pixels: CpuTensor) -> CpuTensor {
    let [rows, columns, ..] = pixels.sides();
    pixels.reshape(&[rows, columns])
}
