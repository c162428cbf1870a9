//! ReLU, sums, products and blends.

use crate::CpuTensor;
use crate::channels_last::{self as loops, Unary, part_len, spread};
use crate::threads::Threads;

/// Values that one thread takes at least.
const CHUNK: usize = 8192;

/// `max(x, 0)`; NaN stays NaN.
pub(crate) fn relu(input: CpuTensor) -> CpuTensor {
    input
        .into_channels_last()
        .change(|values| loops::relu(values, &Threads))
}

/// The gradient where the output is above 0, or NaN; else 0.
pub(crate) fn relu_backward(output: CpuTensor, output_grad: CpuTensor) -> CpuTensor {
    let output = output.into_channels_last();
    let grad = output_grad.into_channels_last();
    let grad = grad.change_with(&output, |both| {
        loops::relu_backward(both.swapped(), &Threads);
    });
    drop(output);
    grad
}

/// `min(max(x, 0), 6)`; NaN stays NaN.
pub(crate) fn relu6(input: CpuTensor) -> CpuTensor {
    input
        .into_channels_last()
        .change(|values| loops::relu6(values, &Threads))
}

/// The gradient where the output is above 0 and below 6, or NaN; else 0.
pub(crate) fn relu6_backward(output: CpuTensor, output_grad: CpuTensor) -> CpuTensor {
    let output = output.into_channels_last();
    let grad = output_grad.into_channels_last();
    let grad = grad.change_with(&output, |both| {
        loops::relu6_backward(both.swapped(), &Threads);
    });
    drop(output);
    grad
}

/// `a + b`, cut off at 0 if `relu`; shapes are the same.
pub(crate) fn sum(a: CpuTensor, b: CpuTensor, relu: bool) -> CpuTensor {
    let (a, b) = alike(a, b);
    // Addition commutes, so either of the two can take the sum.
    let (target, other) = if a.is_unique() { (a, b) } else { (b, a) };
    let sum = target.change_with(&other, |terms| loops::sum(terms, relu, &Threads));
    drop(other);
    sum
}

/// `keep·a + gain·b`; shapes are the same.
pub(crate) fn blend(a: CpuTensor, keep: f64, b: CpuTensor, gain: f64) -> CpuTensor {
    let (a, b) = alike(a, b);
    a.change_with(&b, |terms| {
        loops::blend(terms, keep as f32, gain as f32, &Threads);
    })
}

/// `a·b`, element by element; shapes are the same.
pub(crate) fn multiply(a: CpuTensor, b: CpuTensor) -> CpuTensor {
    let (mut a, b) = alike(a, b);
    let part = part_len(b.values().len(), CHUNK, &Threads);
    let jobs = a.values_mut().chunks_mut(part).zip(b.values().chunks(part));
    spread(jobs, &Threads, |(a, b)| {
        for (a, b) in a.iter_mut().zip(b) {
            *a *= b;
        }
    });
    a
}

/// `factor·x`
pub(crate) fn scale(tensor: CpuTensor, factor: f64) -> CpuTensor {
    let factor = factor as f32;
    tensor.change(|operand| match operand {
        Unary::InPlace(values) => values.iter_mut().for_each(|value| *value *= factor),
        Unary::Into { input, output } => {
            let each = output.iter_mut().zip(input);
            each.for_each(|(output, input)| *output = input * factor);
        }
    })
}

/// `Σ x²` in `f64`.
pub(crate) fn square_sum(tensor: &CpuTensor) -> f64 {
    let squares = tensor
        .values()
        .iter()
        .map(|&value| f64::from(value).powi(2));
    squares.sum()
}

/// Both in one memory order. Weights and what belongs to them mostly lie alike already, in whatever order.
fn alike(a: CpuTensor, b: CpuTensor) -> (CpuTensor, CpuTensor) {
    if a.lies_like(&b) {
        (a, b)
    } else {
        (a.into_channels_last(), b.into_channels_last())
    }
}
