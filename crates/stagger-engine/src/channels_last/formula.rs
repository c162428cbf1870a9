//! Loops that compute each value of the result from the values at the same place.

use std::ops::Range;

use pulp::{Scalar, Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::parallel::{Parallel, part_len, spread};
use super::rows::{Aligned, CHUNK, in_vectors};

/// The operand and the result of an operation on one slice.
#[derive(Debug)]
pub enum Unary<'a, T> {
    /// The result goes to a slice of its own.
    Into {
        /// The operand.
        input: &'a [T],
        /// The result; what it held before is not read.
        output: &'a mut [T],
    },
    /// The result takes the operand's place.
    InPlace(&'a mut [T]),
}

/// The operands and the result of an operation on two slices.
#[derive(Debug)]
pub enum Binary<'a, T> {
    /// The result goes to a slice of its own.
    Into {
        /// The first operand.
        left: &'a [T],
        /// The second operand.
        right: &'a [T],
        /// The result; what it held before is not read.
        output: &'a mut [T],
    },
    /// The result takes the first operand's place.
    OverLeft {
        /// The first operand and the result.
        left: &'a mut [T],
        /// The second operand.
        right: &'a [T],
    },
    /// The result takes the second operand's place.
    OverRight {
        /// The first operand.
        left: &'a [T],
        /// The second operand and the result.
        right: &'a mut [T],
    },
}

/// What is computed from `N` vectors of values at the same place of a row.
pub(super) trait Formula<const N: usize>: Copy + Sync {
    /// Values in a row, after which positions start anew.
    fn row(&self) -> usize;

    /// The same for these positions of the row.
    fn narrow(self, positions: Range<usize>) -> Self;

    /// The result for the vector of this number in the row.
    fn at<S: Simd>(&self, simd: S, vector: usize, values: [S::f32s; N]) -> S::f32s;
}

/// # Panics
/// When lengths differ.
pub(super) fn unary<T: Element>(
    formula: impl Formula<1>,
    operand: Unary<'_, T>,
    parallel: &dyn Parallel,
) {
    let arch = arch();
    match operand {
        Unary::Into { input, output } => {
            assert_eq!(input.len(), output.len(), "operand and result");
            let part = part(&formula, output.len(), parallel);
            let jobs = input.chunks(part).zip(output.chunks_mut(part));
            spread(jobs, parallel, |(input, output)| {
                let sources = [input];
                arch.dispatch(Into {
                    formula,
                    sources,
                    output,
                });
            });
        }
        Unary::InPlace(values) => {
            let part = part(&formula, values.len(), parallel);
            spread(values.chunks_mut(part), parallel, |values| {
                arch.dispatch(InPlace { formula, values });
            });
        }
    }
}

/// # Panics
/// When lengths differ.
pub(super) fn binary<T: Element>(
    formula: impl Formula<2>,
    operands: Binary<'_, T>,
    parallel: &dyn Parallel,
) {
    match operands {
        Binary::Into {
            left,
            right,
            output,
        } => {
            assert_eq!(left.len(), right.len(), "operands");
            assert_eq!(left.len(), output.len(), "operands and result");
            let part = part(&formula, output.len(), parallel);
            let sources = left.chunks(part).zip(right.chunks(part));
            let arch = arch();
            spread(
                sources.zip(output.chunks_mut(part)),
                parallel,
                |((left, right), output)| {
                    let sources = [left, right];
                    arch.dispatch(Into {
                        formula,
                        sources,
                        output,
                    });
                },
            );
        }
        Binary::OverLeft { left, right } => over(formula, left, right, parallel),
        Binary::OverRight { left, right } => over(Swapped(formula), right, left, parallel),
    }
}

fn over<T: Element>(
    formula: impl Formula<2>,
    target: &mut [T],
    other: &[T],
    parallel: &dyn Parallel,
) {
    assert_eq!(target.len(), other.len(), "operands");
    let part = part(&formula, target.len(), parallel);
    let arch = arch();
    let jobs = target.chunks_mut(part).zip(other.chunks(part));
    spread(jobs, parallel, |(target, other)| {
        arch.dispatch(Over {
            formula,
            target,
            other,
        });
    });
}

fn part<const N: usize>(formula: &impl Formula<N>, len: usize, parallel: &dyn Parallel) -> usize {
    let row = formula.row();
    part_len(len, row * (CHUNK / row).max(1), parallel)
}

#[derive(Clone, Copy)]
struct Swapped<F>(F);

impl<F: Formula<2>> Formula<2> for Swapped<F> {
    fn row(&self) -> usize {
        self.0.row()
    }

    #[inline(always)]
    fn narrow(self, positions: Range<usize>) -> Self {
        Self(self.0.narrow(positions))
    }

    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, vector: usize, [right, left]: [S::f32s; 2]) -> S::f32s {
        self.0.at(simd, vector, [left, right])
    }
}

struct Into<'a, F, T, const N: usize> {
    formula: F,
    sources: [&'a [T]; N],
    output: &'a mut [T],
}

impl<F: Formula<N>, T: Element, const N: usize> WithSimd for Into<'_, F, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            formula,
            sources,
            output,
        } = self;
        let row = formula.row();
        let mut wide = [(); N].map(|()| Aligned::zeros(row));
        let mut result = Aligned::zeros(row);
        for (number, output) in output.chunks_mut(row).enumerate() {
            let len = output.len();
            // A loop, not `map`: its closure would not be compiled for the instruction set.
            let mut widened: [&[f32]; N] = [&[]; N];
            for ((widened, source), wide) in widened.iter_mut().zip(sources).zip(&mut wide) {
                *widened = T::widen(&source[number * row..][..len], &mut wide[..len]);
            }
            let sources = widened;
            T::write(output, &mut result, |output| {
                let split = in_vectors::<S>(len);
                let (head, tail) = output.split_at_mut(split);
                let heads = sources.map(|source| &source[..split]);
                compute(simd, formula.narrow(0..split), heads, head);
                let tails = sources.map(|source| &source[split..]);
                compute(Scalar, formula.narrow(split..len), tails, tail);
            });
        }
    }
}

/// Slices are whole vectors.
#[inline(always)]
fn compute<S: Simd, F: Formula<N>, const N: usize>(
    simd: S,
    formula: F,
    sources: [&[f32]; N],
    output: &mut [f32],
) {
    let output = S::as_mut_simd_f32s(output).0;
    let sources = sources.map(|source| &S::as_simd_f32s(source).0[..output.len()]);
    for vector in 0..output.len() {
        output[vector] = formula.at(simd, vector, sources.map(|source| source[vector]));
    }
}

struct InPlace<'a, F, T> {
    formula: F,
    values: &'a mut [T],
}

impl<F: Formula<1>, T: Element> WithSimd for InPlace<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut wide = Aligned::zeros(self.formula.row());
        for row in self.values.chunks_mut(self.formula.row()) {
            T::change(row, &mut wide, |values| {
                let len = values.len();
                let split = in_vectors::<S>(len);
                let (head, tail) = values.split_at_mut(split);
                change_one(simd, self.formula.narrow(0..split), head);
                change_one(Scalar, self.formula.narrow(split..len), tail);
            });
        }
    }
}

/// The slice is whole vectors.
#[inline(always)]
fn change_one<S: Simd>(simd: S, formula: impl Formula<1>, values: &mut [f32]) {
    let values = S::as_mut_simd_f32s(values).0;
    for (vector, value) in values.iter_mut().enumerate() {
        *value = formula.at(simd, vector, [*value]);
    }
}

struct Over<'a, F, T> {
    formula: F,
    target: &'a mut [T],
    other: &'a [T],
}

impl<F: Formula<2>, T: Element> WithSimd for Over<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let row = self.formula.row();
        let (mut wide, mut wide_other) = (Aligned::zeros(row), Aligned::zeros(row));
        for (target, other) in self.target.chunks_mut(row).zip(self.other.chunks(row)) {
            let len = target.len();
            let other = T::widen(other, &mut wide_other);
            T::change(target, &mut wide, |target| {
                let split = in_vectors::<S>(len);
                let (head, tail) = target.split_at_mut(split);
                change_two(simd, self.formula.narrow(0..split), head, &other[..split]);
                change_two(
                    Scalar,
                    self.formula.narrow(split..len),
                    tail,
                    &other[split..],
                );
            });
        }
    }
}

/// Slices are whole vectors.
#[inline(always)]
fn change_two<S: Simd>(simd: S, formula: impl Formula<2>, target: &mut [f32], other: &[f32]) {
    let target = S::as_mut_simd_f32s(target).0;
    let other = &S::as_simd_f32s(other).0[..target.len()];
    for vector in 0..target.len() {
        target[vector] = formula.at(simd, vector, [target[vector], other[vector]]);
    }
}

/// The length of a row for formulas that are the same at every position.
pub(super) const ANY_ROW: usize = 1024;
