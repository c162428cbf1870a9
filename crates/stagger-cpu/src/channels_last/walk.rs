//! The loop that all formulas share.
//!
//! It takes a few vectors' width of positions at a time through all rows of a chunk, so that parameters and sums stay in
//! registers. Each position has a sum of its own, to which rows are added in order, however wide the vectors are.

use std::ops::Range;

use pulp::{Scalar, Simd, WithSimd};

use super::arch;
use super::element::{Element, lanes};
use super::operands::{Operands, Place};
use super::parallel::{Parallel, part_len, spread};
use super::rows::Rows;

/// What is computed from the values at one place of the first and `M` other slices, with `P` parameters and `A` sums per
/// position of a row.
pub(super) trait Formula<const M: usize, const P: usize, const A: usize>:
    Copy + Send + Sync
{
    /// The result; adds to the sums.
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; P],
        first: S::f32s,
        others: [S::f32s; M],
        sums: &mut [S::f32s; A],
    ) -> S::f32s;
}

/// Computes a formula everywhere. Gives the `A` sums of each channel for each chunk.
pub(super) fn walk<D: Place<T>, T: Element, const M: usize, const P: usize, const A: usize>(
    formula: impl Formula<M, P, A>,
    rows: Rows,
    parameters: [&[f32]; P],
    operands: Operands<'_, D, T, M>,
    parallel: &dyn Parallel,
) -> Vec<f64> {
    let arch = arch();
    by_chunk(operands, rows, A, parallel, |operands, results| {
        arch.dispatch(Walk::<_, _, _, M, P, A> {
            formula,
            rows,
            parameters,
            operands,
            results,
        });
    })
}

/// `sums` numbers per channel and chunk; `work` gets several chunks and room for their results.
pub(super) fn by_chunk<'a, D: Place<T>, T: Element, const M: usize>(
    operands: Operands<'a, D, T, M>,
    rows: Rows,
    sums: usize,
    parallel: &dyn Parallel,
    work: impl Fn(Operands<'a, D, T, M>, &mut [f64]) + Sync,
) -> Vec<f64> {
    let len = operands.first.len();
    let part = part_len(len, rows.chunk(), parallel);
    let each = sums * rows.channels();
    let mut results = vec![0.0; len.div_ceil(rows.chunk()) * each];
    let mut rest = &mut results[..];
    let jobs = operands.parts(part).into_iter().map(|operands| {
        let count = operands.first.len().div_ceil(rows.chunk()) * each;
        let (results, behind) = std::mem::take(&mut rest).split_at_mut(count);
        rest = behind;
        (operands, results)
    });
    spread(jobs, parallel, |(operands, results)| {
        work(operands, results);
    });
    results
}

struct Walk<'a, F, D, T, const M: usize, const P: usize, const A: usize> {
    formula: F,
    rows: Rows,
    parameters: [&'a [f32]; P],
    operands: Operands<'a, D, T, M>,
    results: &'a mut [f64],
}

impl<F, D, T, const M: usize, const P: usize, const A: usize> WithSimd
    for Walk<'_, F, D, T, M, P, A>
where
    F: Formula<M, P, A>,
    D: Place<T>,
    T: Element,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            formula,
            rows,
            parameters,
            mut operands,
            results,
        } = self;
        let mut sums = RowSums::<A>::of(rows);
        let len = operands.first.len();
        let (chunk, channels) = (rows.chunk(), rows.channels());
        for (number, start) in (0..len).step_by(chunk).enumerate() {
            let range = start..len.min(start + chunk);
            walk_chunk(simd, formula, parameters, &mut operands, range, &mut sums);
            sums.fold(&mut results[number * A * channels..][..A * channels]);
        }
    }
}

/// The sums of a chunk by position in the row.
pub(super) struct RowSums<const A: usize> {
    rows: Rows,
    sums: [Vec<f32>; A],
}

impl<const A: usize> RowSums<A> {
    pub(super) fn of(rows: Rows) -> Self {
        Self {
            rows,
            sums: [(); A].map(|()| vec![0.0; rows.len()]),
        }
    }

    /// Adds them up by channel, one sum behind the other, and starts anew.
    #[inline(always)]
    pub(super) fn fold(&mut self, results: &mut [f64]) {
        let channels = self.rows.channels();
        for (index, sums) in self.sums.iter_mut().enumerate() {
            let results = &mut results[index * channels..][..channels];
            self.rows.fold(sums, results);
            sums.fill(0.0);
        }
    }
}

/// Computes a formula in this range, which starts with a row.
#[inline(always)]
pub(super) fn walk_chunk<
    S: Simd,
    D: Place<T>,
    T: Element,
    const M: usize,
    const P: usize,
    const A: usize,
>(
    simd: S,
    formula: impl Formula<M, P, A>,
    parameters: [&[f32]; P],
    operands: &mut Operands<'_, D, T, M>,
    range: Range<usize>,
    sums: &mut RowSums<A>,
) {
    let row = sums.rows.len();
    let middle = range.start + range.len() / row * row;
    for (rows, width) in [
        (range.start..middle, row),
        (middle..range.end, range.end - middle),
    ] {
        if rows.is_empty() {
            continue;
        }
        let mut column = 0;
        while column + 4 * lanes::<S>() <= width {
            let at = Columns { column, row };
            at.walk::<S, D, T, M, P, A, 4>(simd, formula, parameters, operands, &rows, sums);
            column += 4 * lanes::<S>();
        }
        while column + 2 * lanes::<S>() <= width {
            let at = Columns { column, row };
            at.walk::<S, D, T, M, P, A, 2>(simd, formula, parameters, operands, &rows, sums);
            column += 2 * lanes::<S>();
        }
        while column < width {
            let at = Columns { column, row };
            at.walk::<Scalar, D, T, M, P, A, 1>(Scalar, formula, parameters, operands, &rows, sums);
            column += 1;
        }
    }
}

struct Columns {
    column: usize,
    row: usize,
}

impl Columns {
    /// Takes `V` vectors of positions through all rows. Loops, not `map`: its closure might not be compiled for the
    /// instruction set.
    #[inline(always)]
    fn walk<
        S: Simd,
        D: Place<T>,
        T: Element,
        const M: usize,
        const P: usize,
        const A: usize,
        const V: usize,
    >(
        self,
        simd: S,
        formula: impl Formula<M, P, A>,
        parameters: [&[f32]; P],
        operands: &mut Operands<'_, D, T, M>,
        rows: &Range<usize>,
        sums: &mut RowSums<A>,
    ) {
        let zero = simd.splat_f32s(0.0);
        let (column, width) = (self.column, V * lanes::<S>());
        let mut constants = [[zero; P]; V];
        for (index, parameter) in parameters.iter().enumerate() {
            let vectors: [S::f32s; V] = T::load_singles(simd, &parameter[column..][..width]);
            for (constants, vector) in constants.iter_mut().zip(vectors) {
                constants[index] = vector;
            }
        }
        let mut totals = [[zero; A]; V];
        for (index, sums) in sums.sums.iter().enumerate() {
            let vectors: [S::f32s; V] = T::load_singles(simd, &sums[column..][..width]);
            for (totals, vector) in totals.iter_mut().zip(vectors) {
                totals[index] = vector;
            }
        }

        let mut start = rows.start + column;
        while start < rows.end {
            let first: [S::f32s; V] = operands.first.load(simd, start);
            let mut others = [[zero; M]; V];
            for (index, other) in operands.others.iter().enumerate() {
                let vectors: [S::f32s; V] = T::load(simd, &other[start..][..width]);
                for (others, vector) in others.iter_mut().zip(vectors) {
                    others[index] = vector;
                }
            }
            let mut results = [zero; V];
            for vector in 0..V {
                results[vector] = formula.at(
                    simd,
                    constants[vector],
                    first[vector],
                    others[vector],
                    &mut totals[vector],
                );
            }
            operands.first.store(simd, start, results);
            start += self.row;
        }

        for (index, sums) in sums.sums.iter_mut().enumerate() {
            let mut vectors = [zero; V];
            for (vector, totals) in vectors.iter_mut().zip(&totals) {
                *vector = totals[index];
            }
            T::store_singles(simd, vectors, &mut sums[column..][..width]);
        }
    }
}
