//! Loops that compute each value of the result from the values at the same place.

use pulp::{Simd, WithSimd};

use super::arch;
use super::element::Element;
use super::parallel::{Parallel, part_len, spread};
use super::rows::CHUNK;

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

/// What is computed from `N` values at position `index` of a row.
pub(super) trait Formula<const N: usize>: Copy + Sync {
    /// Values in a row, after which positions start anew.
    fn row(&self) -> usize;

    /// The same with slices cut to this length, which lets the compiler drop bounds checks.
    fn narrow(self, len: usize) -> Self;

    fn at(&self, index: usize, values: [f32; N]) -> f32;
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
    fn narrow(self, len: usize) -> Self {
        Self(self.0.narrow(len))
    }

    #[inline(always)]
    fn at(&self, index: usize, [right, left]: [f32; 2]) -> f32 {
        self.0.at(index, [left, right])
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
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            formula,
            sources,
            output,
        } = self;
        let row = formula.row();
        for (number, output) in output.chunks_mut(row).enumerate() {
            let sources = sources.map(|source| &source[number * row..][..output.len()]);
            compute(formula.narrow(output.len()), sources, output);
        }
    }
}

#[inline(always)]
fn compute<F: Formula<N>, T: Element, const N: usize>(
    formula: F,
    sources: [&[T]; N],
    output: &mut [T],
) {
    let sources = sources.map(|source| &source[..output.len()]);
    for index in 0..output.len() {
        let values = sources.map(|source| source[index].to_f32());
        output[index] = T::from_f32(formula.at(index, values));
    }
}

struct InPlace<'a, F, T> {
    formula: F,
    values: &'a mut [T],
}

impl<F: Formula<1>, T: Element> WithSimd for InPlace<'_, F, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.values.chunks_mut(self.formula.row()) {
            let formula = self.formula.narrow(row.len());
            for (index, value) in row.iter_mut().enumerate() {
                *value = T::from_f32(formula.at(index, [value.to_f32()]));
            }
        }
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
    fn with_simd<S: Simd>(self, _: S) {
        let row = self.formula.row();
        for (target, other) in self.target.chunks_mut(row).zip(self.other.chunks(row)) {
            change(self.formula.narrow(target.len()), target, other);
        }
    }
}

#[inline(always)]
fn change<F: Formula<2>, T: Element>(formula: F, target: &mut [T], other: &[T]) {
    let other = &other[..target.len()];
    for index in 0..target.len() {
        let values = [target[index].to_f32(), other[index].to_f32()];
        target[index] = T::from_f32(formula.at(index, values));
    }
}

/// The length of a row for formulas that are the same at every position.
pub(super) const ANY_ROW: usize = CHUNK;
