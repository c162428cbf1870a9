//! Batch normalisation, backward. With `x̂ = (x − mean)/√(variance + ε)` and `g` the gradient that the ReLU lets
//! through, `dγ = Σ g·x̂`, `dβ = Σ g`, `dx = γ/√(variance + ε) · (g − mean(g) − x̂·mean(g·x̂))`: one pass for the sums,
//! one for `dx`.

use pulp::Simd;

use super::element::Element;
use super::elementwise::keep;
use super::formula::{Binary, binary};
use super::moments::in_order;
use super::normalize::{Affine, Normal};
use super::operands::Operands;
use super::parallel::Parallel;
use super::walk::{Formula, walk};

/// `Σ g` and `Σ g·(x − mean)`, `g` being the gradient that the ReLU lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientSums {
    /// `Σ g`, `[C]`.
    pub grads: Vec<f64>,
    /// `Σ g·(x − mean)`, `[C]`.
    pub projections: Vec<f64>,
}

impl GradientSums {
    fn of(by_chunk: &[f64], channels: usize) -> Self {
        let mut grads = in_order(by_chunk, 2 * channels);
        let projections = grads.split_off(channels);
        Self { grads, projections }
    }

    /// The gradient of γ, `[C]`.
    pub fn scale_grad(&self, affine: &Affine) -> Vec<f32> {
        let each = self.projections.iter().zip(&affine.inverse);
        each.map(|(projection, inverse)| (projection * inverse.sqrt()) as f32)
            .collect()
    }

    /// The gradient of β, `[C]`.
    pub fn shift_grad(&self) -> Vec<f32> {
        self.grads.iter().map(|&sum| sum as f32).collect()
    }

    /// What [`pull`] needs; `pixels` is the number of values per channel.
    pub fn line(&self, affine: &Affine, pixels: usize) -> Line {
        let count = pixels as f64;
        let share = |channel: usize| -f64::from(affine.factor[channel]) / count;
        let each = 0..affine.channels();
        let slope = each.clone().map(|channel| {
            (share(channel) * affine.inverse[channel] * self.projections[channel]) as f32
        });
        let offset = each.map(|channel| (share(channel) * self.grads[channel]) as f32);
        Line {
            slope: affine.rows.repeat(slope),
            offset: affine.rows.repeat(offset),
        }
    }
}

/// What the gradient of the input gets besides `factor·g`: `slope·(x − mean) + offset`.
#[derive(Clone, Debug)]
pub struct Line {
    slope: Vec<f32>,
    offset: Vec<f32>,
}

/// The sums of what a ReLU, if there is one, lets through of `grads`. `input` is that of the normalisation.
///
/// # Panics
/// When lengths differ, or the last pixel is not whole.
pub fn gradient_sums<T: Element>(
    input: &[T],
    grads: &[T],
    affine: &Affine,
    relu: bool,
    parallel: &dyn Parallel,
) -> GradientSums {
    whole_pixels(grads, affine);
    let (rows, parameters) = (affine.rows, affine.parameters());
    let operands = Operands::new(grads, [input]);
    let sums = if relu {
        walk(Sums::<true>, rows, parameters, operands, parallel)
    } else {
        walk(Sums::<false>, rows, parameters, operands, parallel)
    };
    GradientSums::of(&sums, affine.channels())
}

/// How a ReLU behind [`super::normalize_add`] is known to have cut an element off.
#[derive(Clone, Copy, Debug)]
pub enum Cut<'a, T> {
    /// By computing its input again, from the addend.
    Addend(&'a [T]),
    /// By its output: then the addend need not be kept.
    Output(&'a [T]),
}

/// Sets to 0 what the ReLU does not let through of `grads`, which then are the addend's gradient, and sums the rest.
///
/// # Panics
/// When lengths differ, or the last pixel is not whole.
pub fn mask_gradient_sums<T: Element>(
    input: &[T],
    cut: Cut<'_, T>,
    grads: &mut [T],
    affine: &Affine,
    parallel: &dyn Parallel,
) -> GradientSums {
    whole_pixels(grads, affine);
    let (rows, parameters) = (affine.rows, affine.parameters());
    let sums = match cut {
        Cut::Addend(addend) => {
            let operands = Operands::new(grads, [input, addend]);
            walk(Mask::<false>, rows, parameters, operands, parallel)
        }
        Cut::Output(output) => {
            let operands = Operands::new(grads, [input, output]);
            walk(Mask::<true>, rows, parameters, operands, parallel)
        }
    };
    GradientSums::of(&sums, affine.channels())
}

fn whole_pixels<T>(values: &[T], affine: &Affine) {
    assert_eq!(values.len() % affine.channels(), 0, "whole pixels");
}

/// The gradient of the input, `factor·g + slope·(x − mean) + offset`: the gradient of the output is left, the input
/// right. With `relu`, `g` is what the ReLU lets through; gradients that [`mask_gradient_sums`] has masked want none.
///
/// # Panics
/// When lengths differ.
pub fn pull<T: Element>(
    grads_and_input: Binary<'_, T>,
    affine: &Affine,
    line: &Line,
    relu: bool,
    parallel: &dyn Parallel,
) {
    let [mean, factor, shift] = affine.parameters();
    let parameters = [mean, factor, shift, &line.slope, &line.offset];
    if relu {
        binary(
            Pull::<true>,
            affine.rows,
            parameters,
            grads_and_input,
            parallel,
        );
    } else {
        binary(
            Pull::<false>,
            affine.rows,
            parameters,
            grads_and_input,
            parallel,
        );
    }
}

#[derive(Clone, Copy)]
struct Pull<const RELU: bool>;

impl<const RELU: bool> Formula<1, 5, 0> for Pull<RELU> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        [mean, factor, shift, slope, offset]: [S::f32s; 5],
        grad: S::f32s,
        [input]: [S::f32s; 1],
        []: &mut [S::f32s; 0],
    ) -> S::f32s {
        let normal = Normal::new(simd, [mean, factor, shift]);
        let centred = normal.centred(input);
        let grad = if RELU {
            keep(simd, normal.output(centred), grad)
        } else {
            grad
        };
        let line = simd.add_f32s(simd.mul_f32s(slope, centred), offset);
        simd.add_f32s(simd.mul_f32s(normal.factor, grad), line)
    }
}

/// Sums `g` and `g·(x − mean)`.
#[derive(Clone, Copy)]
struct Sums<const RELU: bool>;

impl<const RELU: bool> Formula<1, 3, 2> for Sums<RELU> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; 3],
        grad: S::f32s,
        [input]: [S::f32s; 1],
        sums: &mut [S::f32s; 2],
    ) -> S::f32s {
        let normal = Normal::new(simd, parameters);
        let centred = normal.centred(input);
        let grad = if RELU {
            keep(simd, normal.output(centred), grad)
        } else {
            grad
        };
        add(simd, grad, centred, sums);
        grad
    }
}

/// As [`Sums`], with the ReLU's output given, or computed from the addend.
#[derive(Clone, Copy)]
struct Mask<const BY_OUTPUT: bool>;

impl<const BY_OUTPUT: bool> Formula<2, 3, 2> for Mask<BY_OUTPUT> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; 3],
        grad: S::f32s,
        [input, other]: [S::f32s; 2],
        sums: &mut [S::f32s; 2],
    ) -> S::f32s {
        let normal = Normal::new(simd, parameters);
        let centred = normal.centred(input);
        let output = if BY_OUTPUT {
            other
        } else {
            simd.add_f32s(normal.output(centred), other)
        };
        let grad = keep(simd, output, grad);
        add(simd, grad, centred, sums);
        grad
    }
}

#[inline(always)]
fn add<S: Simd>(simd: S, grad: S::f32s, centred: S::f32s, sums: &mut [S::f32s; 2]) {
    sums[0] = simd.add_f32s(sums[0], grad);
    sums[1] = simd.add_f32s(sums[1], simd.mul_f32s(grad, centred));
}
