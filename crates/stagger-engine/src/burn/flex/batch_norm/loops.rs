//! The loops of batch normalisation, compiled for each instruction set.

use pulp::{Simd, WithSimd};

use crate::burn::flex::moments::{Rows, moments};

/// What forward and backward compute the output from, each value once per position of a row. Both have to do it by
/// the same operations in the same order, so that the ReLU cuts off the same elements.
pub(super) struct Affine {
    pub mean: Vec<f32>,
    /// γ / √(variance + ε)
    pub factor: Vec<f32>,
    pub shift: Vec<f32>,
}

/// Mean and biased variance per channel.
pub(super) struct Moments<'a> {
    pub input: &'a [f32],
    pub channels: usize,
}

impl WithSimd for Moments<'_> {
    type Output = (Vec<f64>, Vec<f64>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        moments(self.input, self.channels)
    }
}

/// `(x − mean)·factor + shift`, cut off at 0 if `relu`.
pub(super) struct Normalize<'a> {
    pub input: &'a [f32],
    pub output: &'a mut [f32],
    pub affine: &'a Affine,
    pub relu: bool,
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            input,
            output,
            affine,
            relu,
        } = self;
        let step = affine.mean.len();
        for (input, output) in input.chunks(step).zip(output.chunks_mut(step)) {
            if relu {
                normalize::<true>(input, affine, output);
            } else {
                normalize::<false>(input, affine, output);
            }
        }
    }
}

#[inline(always)]
fn normalize<const RELU: bool>(input: &[f32], affine: &Affine, output: &mut [f32]) {
    let len = output.len();
    let (input, mean) = (&input[..len], &affine.mean[..len]);
    let (factor, shift) = (&affine.factor[..len], &affine.shift[..len]);
    for index in 0..len {
        let value = (input[index] - mean[index]) * factor[index] + shift[index];
        output[index] = if RELU && value <= 0.0 { 0.0 } else { value };
    }
}

/// `Σ g` and `Σ g·(x − mean)` per channel, `g` being the gradient that the ReLU lets through.
pub(super) struct GradientSums<'a> {
    pub input: &'a [f32],
    pub grads: &'a [f32],
    pub channels: usize,
    pub affine: &'a Affine,
    pub relu: bool,
}

impl WithSimd for GradientSums<'_> {
    type Output = (Vec<f64>, Vec<f64>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self {
            input,
            grads,
            channels,
            affine,
            relu,
        } = self;
        let rows = Rows::of(channels);
        let mut totals = (vec![0.0; channels], vec![0.0; channels]);
        let mut plain = vec![0.0_f32; rows.len()];
        let mut projected = vec![0.0_f32; rows.len()];
        for (input, grads) in input.chunks(rows.chunk()).zip(grads.chunks(rows.chunk())) {
            plain.fill(0.0);
            projected.fill(0.0);
            for (input, grads) in input.chunks(rows.len()).zip(grads.chunks(rows.len())) {
                if relu {
                    add::<true>(input, grads, affine, &mut plain, &mut projected);
                } else {
                    add::<false>(input, grads, affine, &mut plain, &mut projected);
                }
            }
            rows.fold(&plain, &mut totals.0);
            rows.fold(&projected, &mut totals.1);
        }
        totals
    }
}

#[inline(always)]
fn add<const RELU: bool>(
    input: &[f32],
    grads: &[f32],
    affine: &Affine,
    plain: &mut [f32],
    projected: &mut [f32],
) {
    let len = input.len();
    let (grads, mean) = (&grads[..len], &affine.mean[..len]);
    let (factor, shift) = (&affine.factor[..len], &affine.shift[..len]);
    let (plain, projected) = (&mut plain[..len], &mut projected[..len]);
    for index in 0..len {
        let centred = input[index] - mean[index];
        let cut = RELU && centred * factor[index] + shift[index] <= 0.0;
        let grad = if cut { 0.0 } else { grads[index] };
        plain[index] += grad;
        projected[index] += grad * centred;
    }
}

/// What the gradient of the input gets besides `factor·g`: `slope·(x − mean) + offset`.
pub(super) struct Line {
    pub slope: Vec<f32>,
    pub offset: Vec<f32>,
}

/// Turns gradients of the output into those of the input, in place; both slices start with a row.
pub(super) struct Pull<'a> {
    pub grads: &'a mut [f32],
    pub input: &'a [f32],
    pub affine: &'a Affine,
    pub line: &'a Line,
    pub relu: bool,
}

impl WithSimd for Pull<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            grads,
            input,
            affine,
            line,
            relu,
        } = self;
        let step = affine.mean.len();
        for (grads, input) in grads.chunks_mut(step).zip(input.chunks(step)) {
            if relu {
                pull::<true>(grads, input, affine, line);
            } else {
                pull::<false>(grads, input, affine, line);
            }
        }
    }
}

#[inline(always)]
fn pull<const RELU: bool>(grads: &mut [f32], input: &[f32], affine: &Affine, line: &Line) {
    let len = grads.len();
    let (input, mean) = (&input[..len], &affine.mean[..len]);
    let (factor, shift) = (&affine.factor[..len], &affine.shift[..len]);
    let (slope, offset) = (&line.slope[..len], &line.offset[..len]);
    for index in 0..len {
        let centred = input[index] - mean[index];
        let cut = RELU && centred * factor[index] + shift[index] <= 0.0;
        let grad = if cut { 0.0 } else { grads[index] };
        grads[index] = factor[index] * grad + (slope[index] * centred + offset[index]);
    }
}
