//! ReLU, sums and weighted sums, in place where nobody else holds the tensor.

use burn_flex::FlexTensor;

use crate::channels_last::{self as loops, Binary, Serial};

use super::memory::{change, change_with, channels_last, lie_alike, recycle};

/// `max(x, 0)`; NaN stays NaN.
pub(super) fn relu(input: FlexTensor) -> FlexTensor {
    change(channels_last(input), |values| loops::relu(values, &Serial))
}

/// The gradient where the output is above 0, or NaN; else 0.
pub(super) fn relu_backward(output: FlexTensor, output_grad: FlexTensor) -> FlexTensor {
    let output = channels_last(output);
    let grad = change_with(channels_last(output_grad), &output, |both| {
        loops::relu_backward(swapped(both), &Serial);
    });
    recycle(output);
    grad
}

fn swapped<T>(operands: Binary<'_, T>) -> Binary<'_, T> {
    match operands {
        Binary::Into {
            left,
            right,
            output,
        } => Binary::Into {
            left: right,
            right: left,
            output,
        },
        Binary::OverLeft { left, right } => Binary::OverRight {
            left: right,
            right: left,
        },
        Binary::OverRight { left, right } => Binary::OverLeft {
            left: right,
            right: left,
        },
    }
}

/// `a + b`, cut off at 0 if `relu`; shapes are the same.
pub(super) fn sum(a: FlexTensor, b: FlexTensor, relu: bool) -> FlexTensor {
    let (a, b) = (channels_last(a), channels_last(b));
    // Addition commutes, so either of the two can take the sum.
    let (target, other) = if a.is_unique() { (a, b) } else { (b, a) };
    let sum = change_with(target, &other, |terms| {
        loops::sum(terms, relu, &Serial);
    });
    recycle(other);
    sum
}

/// `keep·a + gain·b`; shapes are the same.
pub(super) fn blend(a: FlexTensor, keep: f64, b: FlexTensor, gain: f64) -> FlexTensor {
    // Weights and what belongs to them mostly lie in memory alike, in whatever order.
    let (a, b) = if lie_alike(&a, &b) {
        (a, b)
    } else {
        (channels_last(a), channels_last(b))
    };
    change_with(a, &b, |terms| {
        loops::blend(terms, keep as f32, gain as f32, &Serial);
    })
}
