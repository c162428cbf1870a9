//! ReLU, sums, weighted sums and casts.

use pulp::{Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::formula::{Binary, Unary, binary, unary};
use super::parallel::{Parallel, part_len, spread};
use super::rows::{CHUNK, Rows};
use super::walk::Formula;

/// `max(x, 0)`; NaN stays NaN.
///
/// # Panics
/// When lengths differ.
pub fn relu<T: Element>(input: Unary<'_, T>, parallel: &dyn Parallel) {
    unary(Relu, Rows::any(), [], input, parallel);
}

/// The gradient (right) where the output (left) is above 0, or NaN; else 0.
///
/// # Panics
/// When lengths differ.
pub fn relu_backward<T: Element>(output_and_grads: Binary<'_, T>, parallel: &dyn Parallel) {
    binary(ReluBackward, Rows::any(), [], output_and_grads, parallel);
}

/// `min(max(x, 0), 6)`; NaN stays NaN.
///
/// # Panics
/// When lengths differ.
pub fn relu6<T: Element>(input: Unary<'_, T>, parallel: &dyn Parallel) {
    unary(Relu6, Rows::any(), [], input, parallel);
}

/// The gradient (right) where the output (left) is above 0 and below 6, or NaN; else 0.
///
/// # Panics
/// When lengths differ.
pub fn relu6_backward<T: Element>(output_and_grads: Binary<'_, T>, parallel: &dyn Parallel) {
    binary(Relu6Backward, Rows::any(), [], output_and_grads, parallel);
}

/// `left + right`, cut off at 0 if `relu`.
///
/// # Panics
/// When lengths differ.
pub fn sum<T: Element>(terms: Binary<'_, T>, relu: bool, parallel: &dyn Parallel) {
    if relu {
        binary(Sum::<true>, Rows::any(), [], terms, parallel);
    } else {
        binary(Sum::<false>, Rows::any(), [], terms, parallel);
    }
}

/// `keep·left + gain·right`.
///
/// # Panics
/// When lengths differ.
pub fn blend<T: Element>(terms: Binary<'_, T>, keep: f32, gain: f32, parallel: &dyn Parallel) {
    binary(Blend { keep, gain }, Rows::any(), [], terms, parallel);
}

/// Writes `from` as another type of element; what `to` held before is not read.
///
/// # Panics
/// When lengths differ.
pub fn cast<A: Element, B: Element>(from: &[A], to: &mut [B], parallel: &dyn Parallel) {
    assert_eq!(from.len(), to.len(), "operand and result");
    let part = part_len(to.len(), CHUNK, parallel);
    let arch = arch();
    let jobs = from.chunks(part).zip(to.chunks_mut(part));
    spread(jobs, parallel, |(from, to)| {
        arch.dispatch(Cast { from, to })
    });
}

/// `value` where it is above 0, or NaN; else 0.
#[inline(always)]
pub(super) fn cut_off<S: Simd>(simd: S, value: S::f32s) -> S::f32s {
    keep(simd, value, value)
}

/// `value` where `output` is above 0, or NaN; else 0.
#[inline(always)]
pub(super) fn keep<S: Simd>(simd: S, output: S::f32s, value: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_or_equal_f32s(output, zero), zero, value)
}

#[derive(Clone, Copy)]
struct Relu;

impl Formula<0, 0, 0> for Relu {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        value: S::f32s,
        []: [S::f32s; 0],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        cut_off(simd, value)
    }
}

#[derive(Clone, Copy)]
struct ReluBackward;

impl Formula<1, 0, 0> for ReluBackward {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        output: S::f32s,
        [grad]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        keep(simd, output, grad)
    }
}

#[derive(Clone, Copy)]
struct Relu6;

impl Formula<0, 0, 0> for Relu6 {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        value: S::f32s,
        []: [S::f32s; 0],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let six = simd.splat_f32s(6.0);
        let is_above = simd.less_than_or_equal_f32s(six, value);
        cut_off(simd, simd.select_f32s(is_above, six, value))
    }
}

#[derive(Clone, Copy)]
struct Relu6Backward;

impl Formula<1, 0, 0> for Relu6Backward {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        output: S::f32s,
        [grad]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let is_above = simd.less_than_or_equal_f32s(simd.splat_f32s(6.0), output);
        let below = simd.select_f32s(is_above, simd.splat_f32s(0.0), grad);
        keep(simd, output, below)
    }
}

#[derive(Clone, Copy)]
struct Sum<const RELU: bool>;

impl<const RELU: bool> Formula<1, 0, 0> for Sum<RELU> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        left: S::f32s,
        [right]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let sum = simd.add_f32s(left, right);
        if RELU { cut_off(simd, sum) } else { sum }
    }
}

#[derive(Clone, Copy)]
struct Blend {
    keep: f32,
    gain: f32,
}

impl Formula<1, 0, 0> for Blend {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        []: [S::f32s; 0],
        left: S::f32s,
        [right]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let kept = simd.mul_f32s(simd.splat_f32s(self.keep), left);
        simd.add_f32s(kept, simd.mul_f32s(simd.splat_f32s(self.gain), right))
    }
}

struct Cast<'a, A, B> {
    from: &'a [A],
    to: &'a mut [B],
}

impl<A: Element, B: Element> WithSimd for Cast<'_, A, B> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = B::from_f32(from.to_f32());
        }
    }
}
