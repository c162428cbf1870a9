//! Loops that compute each value of the result from the values at the same place.

use pulp::Simd;

use super::element::Element;
use super::operands::{Into, Operands};
use super::parallel::Parallel;
use super::rows::Rows;
use super::walk::{Formula, walk};

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

impl<T> Binary<'_, T> {
    /// The operands the other way round; the result keeps its place.
    pub fn swapped(self) -> Self {
        match self {
            Self::Into {
                left,
                right,
                output,
            } => Self::Into {
                left: right,
                right: left,
                output,
            },
            Self::OverLeft { left, right } => Self::OverRight {
                left: right,
                right: left,
            },
            Self::OverRight { left, right } => Self::OverLeft {
                left: right,
                right: left,
            },
        }
    }
}

/// # Panics
/// When lengths differ.
pub(super) fn unary<T: Element, const P: usize>(
    formula: impl Formula<0, P, 0>,
    rows: Rows,
    parameters: [&[f32]; P],
    operand: Unary<'_, T>,
    parallel: &dyn Parallel,
) {
    match operand {
        Unary::Into { input, output } => {
            let operands = Operands::new(Into::new(input, output), []);
            walk(formula, rows, parameters, operands, parallel);
        }
        Unary::InPlace(values) => {
            let operands = Operands::<_, T, 0>::new(values, []);
            walk(formula, rows, parameters, operands, parallel);
        }
    }
}

/// The formula's first operand is left.
///
/// # Panics
/// When lengths differ.
pub(super) fn binary<T: Element, const P: usize>(
    formula: impl Formula<1, P, 0>,
    rows: Rows,
    parameters: [&[f32]; P],
    operands: Binary<'_, T>,
    parallel: &dyn Parallel,
) {
    match operands {
        Binary::Into {
            left,
            right,
            output,
        } => {
            let operands = Operands::new(Into::new(left, output), [right]);
            walk(formula, rows, parameters, operands, parallel);
        }
        Binary::OverLeft { left, right } => {
            let operands = Operands::new(left, [right]);
            walk(formula, rows, parameters, operands, parallel);
        }
        Binary::OverRight { left, right } => {
            let operands = Operands::new(right, [left]);
            walk(Swapped(formula), rows, parameters, operands, parallel);
        }
    }
}

#[derive(Clone, Copy)]
struct Swapped<F>(F);

impl<F: Formula<1, P, 0>, const P: usize> Formula<1, P, 0> for Swapped<F> {
    #[inline(always)]
    fn at<S: Simd>(
        self,
        simd: S,
        parameters: [S::f32s; P],
        right: S::f32s,
        [left]: [S::f32s; 1],
        sums: &mut [S::f32s; 0],
    ) -> S::f32s {
        self.0.at(simd, parameters, left, [right], sums)
    }
}
