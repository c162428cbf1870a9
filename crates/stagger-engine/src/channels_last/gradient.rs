//! Batch normalisation, backward. With `x̂ = (x − mean)/√(variance + ε)` and `g` the gradient that the ReLU lets
//! through, `dγ = Σ g·x̂`, `dβ = Σ g`, `dx = γ/√(variance + ε) · (g − mean(g) − x̂·mean(g·x̂))`: one pass for the sums,
//! one for `dx`.

use pulp::{Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::formula::{Binary, Formula, binary};
use super::moments::in_order;
use super::normalize::{Affine, AffineRow};
use super::parallel::{Parallel, part_len, spread};
use super::rows::Rows;

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
    assert_eq!(input.len(), grads.len(), "input and gradient");
    let layout = Layout::of(input.len(), affine, parallel);
    let mut results = layout.results();
    let row = affine.row();
    let rows = affine.rows;
    let arch = arch();
    let jobs = input.chunks(layout.part).zip(grads.chunks(layout.part));
    spread(
        jobs.zip(results.chunks_mut(layout.part_results)),
        parallel,
        |((input, grads), results)| {
            if relu {
                arch.dispatch(Sums::<_, true> {
                    input,
                    grads,
                    row,
                    rows,
                    results,
                });
            } else {
                arch.dispatch(Sums::<_, false> {
                    input,
                    grads,
                    row,
                    rows,
                    results,
                });
            }
        },
    );
    GradientSums::of(&results, affine.channels())
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
    let (other, by_output) = match cut {
        Cut::Addend(addend) => (addend, false),
        Cut::Output(output) => (output, true),
    };
    assert_eq!(input.len(), grads.len(), "input and gradient");
    assert_eq!(other.len(), grads.len(), "addend or output, and gradient");
    let layout = Layout::of(input.len(), affine, parallel);
    let mut results = layout.results();
    let row = affine.row();
    let rows = affine.rows;
    let arch = arch();
    let sources = input.chunks(layout.part).zip(other.chunks(layout.part));
    let targets = grads
        .chunks_mut(layout.part)
        .zip(results.chunks_mut(layout.part_results));
    spread(
        sources.zip(targets),
        parallel,
        |((input, other), (grads, results))| {
            if by_output {
                arch.dispatch(MaskedSums::<_, true> {
                    input,
                    other,
                    grads,
                    row,
                    rows,
                    results,
                });
            } else {
                arch.dispatch(MaskedSums::<_, false> {
                    input,
                    other,
                    grads,
                    row,
                    rows,
                    results,
                });
            }
        },
    );
    GradientSums::of(&results, affine.channels())
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
    let (row, slope, offset) = (affine.row(), &line.slope[..], &line.offset[..]);
    if relu {
        binary(
            Pull::<true> { row, slope, offset },
            grads_and_input,
            parallel,
        );
    } else {
        binary(
            Pull::<false> { row, slope, offset },
            grads_and_input,
            parallel,
        );
    }
}

#[derive(Clone, Copy)]
struct Pull<'a, const RELU: bool> {
    row: AffineRow<'a>,
    slope: &'a [f32],
    offset: &'a [f32],
}

impl<const RELU: bool> Formula<2> for Pull<'_, RELU> {
    fn row(&self) -> usize {
        self.row.len()
    }

    #[inline(always)]
    fn narrow(self, len: usize) -> Self {
        Self {
            row: self.row.narrow(len),
            slope: &self.slope[..len],
            offset: &self.offset[..len],
        }
    }

    #[inline(always)]
    fn at(&self, index: usize, [grad, input]: [f32; 2]) -> f32 {
        let centred = self.row.centred(index, input);
        let cut = RELU && self.row.output(index, centred) <= 0.0;
        let grad = if cut { 0.0 } else { grad };
        self.row.factor(index) * grad + (self.slope[index] * centred + self.offset[index])
    }
}

/// How values and the results of chunks, twice the number of channels each, are shared out.
struct Layout {
    part: usize,
    part_results: usize,
    results: usize,
}

impl Layout {
    fn of(len: usize, affine: &Affine, parallel: &dyn Parallel) -> Self {
        let (channels, chunk) = (affine.channels(), affine.rows.chunk());
        assert_eq!(len % channels, 0, "whole pixels");
        let part = part_len(len, chunk, parallel);
        Self {
            part,
            part_results: part / chunk * 2 * channels,
            results: len.div_ceil(chunk) * 2 * channels,
        }
    }

    fn results(&self) -> Vec<f64> {
        vec![0.0; self.results]
    }
}

struct Sums<'a, T, const RELU: bool> {
    input: &'a [T],
    grads: &'a [T],
    row: AffineRow<'a>,
    rows: Rows,
    results: &'a mut [f64],
}

impl<T: Element, const RELU: bool> WithSimd for Sums<'_, T, RELU> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (rows, chunk) = (self.rows, self.rows.chunk());
        let mut row_sums = RowSums::of(rows);
        let chunks = self.input.chunks(chunk).zip(self.grads.chunks(chunk));
        let results = self.results.chunks_exact_mut(2 * rows.channels());
        for ((input, grads), results) in chunks.zip(results) {
            for (input, grads) in input.chunks(rows.len()).zip(grads.chunks(rows.len())) {
                let row = self.row.narrow(input.len());
                add::<T, RELU>(
                    input,
                    grads,
                    row,
                    &mut row_sums.plain,
                    &mut row_sums.projected,
                );
            }
            row_sums.fold(results);
        }
    }
}

#[inline(always)]
fn add<T: Element, const RELU: bool>(
    input: &[T],
    grads: &[T],
    row: AffineRow<'_>,
    plain: &mut [f32],
    projected: &mut [f32],
) {
    let len = input.len();
    let grads = &grads[..len];
    let (plain, projected) = (&mut plain[..len], &mut projected[..len]);
    for index in 0..len {
        let centred = row.centred(index, input[index].to_f32());
        let cut = RELU && row.output(index, centred) <= 0.0;
        let grad = if cut { 0.0 } else { grads[index].to_f32() };
        plain[index] += grad;
        projected[index] += grad * centred;
    }
}

struct MaskedSums<'a, T, const BY_OUTPUT: bool> {
    input: &'a [T],
    other: &'a [T],
    grads: &'a mut [T],
    row: AffineRow<'a>,
    rows: Rows,
    results: &'a mut [f64],
}

impl<T: Element, const BY_OUTPUT: bool> WithSimd for MaskedSums<'_, T, BY_OUTPUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (rows, chunk) = (self.rows, self.rows.chunk());
        let mut row_sums = RowSums::of(rows);
        let sources = self.input.chunks(chunk).zip(self.other.chunks(chunk));
        let targets = self.grads.chunks_mut(chunk);
        let results = self.results.chunks_exact_mut(2 * rows.channels());
        for (((input, other), grads), results) in sources.zip(targets).zip(results) {
            let sources = input.chunks(rows.len()).zip(other.chunks(rows.len()));
            for ((input, other), grads) in sources.zip(grads.chunks_mut(rows.len())) {
                let row = self.row.narrow(input.len());
                let sums = (&mut row_sums.plain[..], &mut row_sums.projected[..]);
                mask_and_add::<T, BY_OUTPUT>(input, other, grads, row, sums.0, sums.1);
            }
            row_sums.fold(results);
        }
    }
}

#[inline(always)]
fn mask_and_add<T: Element, const BY_OUTPUT: bool>(
    input: &[T],
    other: &[T],
    grads: &mut [T],
    row: AffineRow<'_>,
    plain: &mut [f32],
    projected: &mut [f32],
) {
    let len = input.len();
    let (other, grads) = (&other[..len], &mut grads[..len]);
    let (plain, projected) = (&mut plain[..len], &mut projected[..len]);
    for index in 0..len {
        let centred = row.centred(index, input[index].to_f32());
        let other = other[index].to_f32();
        let output = if BY_OUTPUT {
            other
        } else {
            row.output(index, centred) + other
        };
        let grad = if output <= 0.0 { T::ZERO } else { grads[index] };
        grads[index] = grad;
        plain[index] += grad.to_f32();
        projected[index] += grad.to_f32() * centred;
    }
}

/// The sums of a chunk by position in the row.
struct RowSums {
    rows: Rows,
    plain: Vec<f32>,
    projected: Vec<f32>,
}

impl RowSums {
    fn of(rows: Rows) -> Self {
        Self {
            rows,
            plain: vec![0.0; rows.len()],
            projected: vec![0.0; rows.len()],
        }
    }

    /// Adds them up by channel and starts anew.
    #[inline(always)]
    fn fold(&mut self, results: &mut [f64]) {
        let (grads, projections) = results.split_at_mut(self.rows.channels());
        self.rows.fold(&self.plain, grads);
        self.rows.fold(&self.projected, projections);
        self.plain.fill(0.0);
        self.projected.fill(0.0);
    }
}
