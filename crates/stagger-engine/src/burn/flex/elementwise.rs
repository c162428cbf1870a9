//! ReLU and sums, in place where nobody else holds the tensor.

use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::arch;
use super::memory::{change, channels_last, recycle, values};

/// `max(x, 0)`; NaN stays NaN.
pub(super) fn rectify(input: FlexTensor) -> FlexTensor {
    let arch = arch();
    change(channels_last(input), 1, |_, values| {
        arch.dispatch(Rectify { values })
    })
}

/// The gradient where the output is above 0, or NaN; else 0.
pub(super) fn rectify_backward(output: FlexTensor, output_grad: FlexTensor) -> FlexTensor {
    let output = channels_last(output);
    let arch = arch();
    let grad = change(channels_last(output_grad), 1, |start, grads| {
        let outputs = &values(&output)[start..start + grads.len()];
        arch.dispatch(RectifyBackward { grads, outputs });
    });
    recycle(output);
    grad
}

/// `a + b`, cut off at 0 if `relu`; shapes are the same.
pub(super) fn sum(a: FlexTensor, b: FlexTensor, relu: bool) -> FlexTensor {
    let (a, b) = (channels_last(a), channels_last(b));
    // Addition commutes, so either of the two can take the sum.
    let (target, other) = if a.is_unique() { (a, b) } else { (b, a) };
    let arch = arch();
    let sum = change(target, 1, |start, sums| {
        let others = &values(&other)[start..start + sums.len()];
        arch.dispatch(Sum { sums, others, relu });
    });
    recycle(other);
    sum
}

struct Rectify<'a> {
    values: &'a mut [f32],
}

impl WithSimd for Rectify<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.values {
            *value = if *value <= 0.0 { 0.0 } else { *value };
        }
    }
}

struct RectifyBackward<'a> {
    grads: &'a mut [f32],
    outputs: &'a [f32],
}

impl WithSimd for RectifyBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (grad, &output) in self.grads.iter_mut().zip(self.outputs) {
            *grad = if output <= 0.0 { 0.0 } else { *grad };
        }
    }
}

struct Sum<'a> {
    sums: &'a mut [f32],
    others: &'a [f32],
    relu: bool,
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (sum, &other) in self.sums.iter_mut().zip(self.others) {
            let value = *sum + other;
            *sum = if self.relu && value <= 0.0 {
                0.0
            } else {
                value
            };
        }
    }
}
