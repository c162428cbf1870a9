//! Batch normalisation, backward. With `x̂ = (x − mean)/√(variance + ε)` and `g` the gradient that the ReLU lets
//! through, `dγ = Σ g·x̂`, `dβ = Σ g`, `dx = γ/√(variance + ε) · (g − mean(g) − x̂·mean(g·x̂))`: one pass for the sums,
//! one for `dx`.

use std::ops::Range;

use pulp::{Scalar, Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::elementwise::keep;
use super::formula::{Binary, Formula, binary};
use super::moments::in_order;
use super::normalize::{Affine, AffineRow};
use super::parallel::{Parallel, part_len, spread};
use super::rows::{Aligned, Rows, in_vectors};

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
    slope: Aligned,
    offset: Aligned,
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
    fn narrow(self, positions: Range<usize>) -> Self {
        Self {
            row: self.row.narrow(positions.clone()),
            slope: &self.slope[positions.clone()],
            offset: &self.offset[positions],
        }
    }

    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, vector: usize, [grad, input]: [S::f32s; 2]) -> S::f32s {
        let centred = self.row.centred(simd, vector, input);
        let grad = if RELU {
            keep(simd, self.row.output(simd, vector, centred), grad)
        } else {
            grad
        };
        let slope = S::as_simd_f32s(self.slope).0[vector];
        let offset = S::as_simd_f32s(self.offset).0[vector];
        let line = simd.add_f32s(simd.mul_f32s(slope, centred), offset);
        simd.add_f32s(simd.mul_f32s(self.row.factor(simd, vector), grad), line)
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
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, chunk) = (self.rows, self.rows.chunk());
        let mut row_sums = RowSums::of(rows);
        let mut wide = [Aligned::zeros(rows.len()), Aligned::zeros(rows.len())];
        let [wide_input, wide_grads] = &mut wide;
        let chunks = self.input.chunks(chunk).zip(self.grads.chunks(chunk));
        let results = self.results.chunks_exact_mut(2 * rows.channels());
        for ((input, grads), results) in chunks.zip(results) {
            for (input, grads) in input.chunks(rows.len()).zip(grads.chunks(rows.len())) {
                let input = T::widen(input, wide_input);
                let grads = T::widen(grads, wide_grads);
                let (split, len) = (in_vectors::<S>(input.len()), input.len());
                let sums = row_sums.slices(0..split);
                let row = self.row.narrow(0..split);
                add::<S, RELU>(simd, &input[..split], &grads[..split], row, sums);
                let sums = row_sums.slices(split..len);
                let row = self.row.narrow(split..len);
                add::<Scalar, RELU>(Scalar, &input[split..], &grads[split..], row, sums);
            }
            row_sums.fold(results);
        }
    }
}

/// Slices are whole vectors.
#[inline(always)]
fn add<S: Simd, const RELU: bool>(
    simd: S,
    input: &[f32],
    grads: &[f32],
    row: AffineRow<'_>,
    [plain, projected]: [&mut [f32]; 2],
) {
    let input = S::as_simd_f32s(input).0;
    let len = input.len();
    let grads = &S::as_simd_f32s(grads).0[..len];
    let plain = &mut S::as_mut_simd_f32s(plain).0[..len];
    let projected = &mut S::as_mut_simd_f32s(projected).0[..len];
    for vector in 0..len {
        let centred = row.centred(simd, vector, input[vector]);
        let grad = if RELU {
            keep(simd, row.output(simd, vector, centred), grads[vector])
        } else {
            grads[vector]
        };
        plain[vector] = simd.add_f32s(plain[vector], grad);
        projected[vector] = simd.add_f32s(projected[vector], simd.mul_f32s(grad, centred));
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
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, chunk) = (self.rows, self.rows.chunk());
        let mut row_sums = RowSums::of(rows);
        let mut wide = [(); 3].map(|()| Aligned::zeros(rows.len()));
        let [wide_input, wide_other, wide_grads] = &mut wide;
        let sources = self.input.chunks(chunk).zip(self.other.chunks(chunk));
        let targets = self.grads.chunks_mut(chunk);
        let results = self.results.chunks_exact_mut(2 * rows.channels());
        for (((input, other), grads), results) in sources.zip(targets).zip(results) {
            let sources = input.chunks(rows.len()).zip(other.chunks(rows.len()));
            for ((input, other), grads) in sources.zip(grads.chunks_mut(rows.len())) {
                let input = T::widen(input, wide_input);
                let other = T::widen(other, wide_other);
                // Loops, not a closure, which may end up not compiled for the instruction set.
                for (wide, grad) in wide_grads.iter_mut().zip(&*grads) {
                    *wide = grad.to_f32();
                }
                let (split, len) = (in_vectors::<S>(input.len()), input.len());
                let (head, tail) = wide_grads[..len].split_at_mut(split);
                let sources = [&input[..split], &other[..split]];
                let row = self.row.narrow(0..split);
                let sums = row_sums.slices(0..split);
                mask_and_add::<S, BY_OUTPUT>(simd, sources, head, row, sums);
                let sources = [&input[split..], &other[split..]];
                let row = self.row.narrow(split..len);
                let sums = row_sums.slices(split..len);
                mask_and_add::<Scalar, BY_OUTPUT>(Scalar, sources, tail, row, sums);
                for (grad, &wide) in grads.iter_mut().zip(wide_grads.iter()) {
                    *grad = T::from_f32(wide);
                }
            }
            row_sums.fold(results);
        }
    }
}

/// Slices are whole vectors.
#[inline(always)]
fn mask_and_add<S: Simd, const BY_OUTPUT: bool>(
    simd: S,
    sources: [&[f32]; 2],
    grads: &mut [f32],
    row: AffineRow<'_>,
    [plain, projected]: [&mut [f32]; 2],
) {
    let grads = S::as_mut_simd_f32s(grads).0;
    let len = grads.len();
    let [input, other] = sources.map(|source| &S::as_simd_f32s(source).0[..len]);
    let plain = &mut S::as_mut_simd_f32s(plain).0[..len];
    let projected = &mut S::as_mut_simd_f32s(projected).0[..len];
    for vector in 0..len {
        let centred = row.centred(simd, vector, input[vector]);
        let output = if BY_OUTPUT {
            other[vector]
        } else {
            simd.add_f32s(row.output(simd, vector, centred), other[vector])
        };
        let grad = keep(simd, output, grads[vector]);
        grads[vector] = grad;
        plain[vector] = simd.add_f32s(plain[vector], grad);
        projected[vector] = simd.add_f32s(projected[vector], simd.mul_f32s(grad, centred));
    }
}

/// The sums of a chunk by position in the row.
struct RowSums {
    rows: Rows,
    plain: Aligned,
    projected: Aligned,
}

impl RowSums {
    fn of(rows: Rows) -> Self {
        Self {
            rows,
            plain: Aligned::zeros(rows.len()),
            projected: Aligned::zeros(rows.len()),
        }
    }

    /// Both sums at these positions.
    #[inline(always)]
    fn slices(&mut self, positions: Range<usize>) -> [&mut [f32]; 2] {
        let plain = &mut self.plain[positions.clone()];
        [plain, &mut self.projected[positions]]
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
